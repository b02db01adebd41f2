"""Painted portraits with known attributes: what a bundled target's task is tried on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.attacks.targets.attributes import AttributeHeads
from sfumato.errors import Unsupported

BATCH = 32
"""Pictures at a time; a network is cut anew for each size of a batch."""


@dataclass(frozen=True, kw_only=True)
class PaintedPictures:
    """Pictures of people whom the painter drew, and who they are."""

    pictures: Float[Tensor, "batch 3 picture_height picture_width"]
    """With values in 0..1."""
    people: tuple[dict[str, str], ...]
    """Each attribute that can be seen in the picture, with its value."""

    def are_read_by(self, heads: AttributeHeads) -> bool:
        """Whether a network tells every attribute of these pictures, by the painter's names of the values."""
        return all(value in heads.values.get(name, ()) for person in self.people for name, value in person.items())

    def accuracy(self, heads: AttributeHeads, result_of: Callable[[Tensor], Tensor]) -> float:
        """The share of attributes, over all pictures, that a network reads rightly.

        Args:
            heads: what the columns of its result stand for.
            result_of: the network, from pictures in 0..1 to logits.

        Raises:
            ValueError: it reads other attributes than the painter draws.
        """
        if not self.are_read_by(heads):
            raise ValueError("this network reads other attributes than the painter draws: take a portraits target")
        with torch.no_grad():
            filled = torch.cat([self.pictures, self.pictures[:1].expand(-len(self.people) % BATCH, -1, -1, -1)])
            logits = torch.cat([result_of(part).cpu() for part in filled.split(BATCH)])[: len(self.people)]
        read = {name: places.tolist() for name, places in heads.most_likely(logits).items()}
        right = [
            heads.values[name][read[name][row]] == value
            for row, person in enumerate(self.people)
            for name, value in person.items()
        ]
        return float(np.mean(right))


def painted_pictures(count: int, seed: int, size: tuple[int, int]) -> PaintedPictures:
    """Paints portraits; of another shape than a square, the middle.

    Args:
        count: how many.
        seed: of people and pictures.
        size: height and width in pixels.

    Raises:
        ValueError: none.
        Unsupported: the painter is not installed.
    """
    if count < 1:
        raise ValueError(f"at least 1 portrait must be painted, got {count}")
    try:
        from sfumato.portraits import draw_attributes, paint
    except ImportError as error:
        raise Unsupported("painted pictures need skia-python: pip install 'sfumato[portraits]'") from error
    generator, side = np.random.default_rng(seed), max(size)
    top, left = (side - size[0]) // 2, (side - size[1]) // 2
    pictures, people = [], []
    for _ in range(count):
        person = draw_attributes(generator)
        painted = paint(person, generator, size=side)
        pictures.append(painted[top : top + size[0], left : left + size[1]])
        people.append(_shown(person.values()))
    return PaintedPictures(
        pictures=torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255, people=tuple(people)
    )


def _shown(person: dict[str, str]) -> dict[str, str]:
    """What can be seen: no hair colour without hair or beard, and beards of men only."""
    hairless = person["hair_style"] == "bald" and person["beard"] == "none"
    unseen = {"hair_colour"} if hairless else set()
    if person["gender"] != "man":
        unseen.add("beard")
    return {name: value for name, value in person.items() if name not in unseen}
