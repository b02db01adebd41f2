"""What is inverted: painted portraits and clips that no bundled network saw, and the words of their backgrounds."""

from dataclasses import dataclass

import numpy as np

from sfumato.attacks.inversion.scoring import Bytes
from sfumato.errors import Unsupported
from sfumato.experiments.inversion_quality.cells import Cell


@dataclass(frozen=True, kw_only=True)
class Group:
    """Pictures that one view holds."""

    seeds: tuple[int, ...]
    pictures: Bytes
    """Frames of a clip beside each other."""
    words: str
    """Of the background; empty where the attacker is told none."""


def groups_of(cell: Cell, size: tuple[int, int]) -> list[Group]:
    """Paints what a cell inverts.

    Args:
        cell: names the pictures.
        size: height and width in pixels.

    Raises:
        Unsupported: the painter is not installed, or the pictures would not be square.
    """
    if size[0] != size[1]:
        raise Unsupported(f"the painter's pictures are square, and the model makes {size[0]} x {size[1]}: take another")
    painted = [_painted(seed, cell.num_frames, size[0]) for seed in cell.seeds]
    together: dict[str, list[int]] = {}
    for place, (_, background) in enumerate(painted):
        together.setdefault(background if cell.by_background else "", []).append(place)
    return [
        Group(
            seeds=tuple(cell.seeds[place] for place in places),
            pictures=np.concatenate([painted[place][0] for place in places]),
            words=f"{background} background" if cell.words else "",
        )
        for background, places in together.items()
    ]


def _painted(seed: int, num_frames: int, side: int) -> tuple[Bytes, str]:
    """Frames, and the value of the attribute background."""
    try:
        from sfumato.portraits.clips import clip
        from sfumato.portraits.samples import sample
    except ImportError as error:
        raise Unsupported("painted pictures need skia-python: pip install 'sfumato[portraits]'") from error
    generator = np.random.default_rng(seed)
    if num_frames > 1:
        frames, attributes, _ = clip(generator, num_frames, size=side)
        return frames, attributes.background
    picture, attributes, _ = sample(generator, size=side)
    return picture[None], attributes.background
