"""Pictures into ``sfumato invert``: files, or the painter's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sfumato.errors import Unsupported

PAINTED = "painted:"
"""Before the seed of a portrait of the painter's."""


def read_pictures(names: Sequence[str], size: tuple[int, int]) -> tuple[NDArray[np.uint8], list[str]]:
    """Reads pictures at one size; larger and smaller ones are scaled, and cut in the middle.

    Args:
        names: files, or painted:SEED.
        size: height and width in pixels.

    Returns:
        The pictures, and the names of those that were scaled.

    Raises:
        ValueError: a file that is no picture, or one of another mode than RGB.
        Unsupported: the painter is not installed.
    """
    read = [_painted(name, size) if name.startswith(PAINTED) else _read(name) for name in names]
    scaled = [name for name, picture in zip(names, read, strict=True) if picture.size != (size[1], size[0])]
    return np.stack([np.asarray(_fitted(picture, size)) for picture in read]), scaled


def _read(name: str) -> Image.Image:
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"cannot read {name}: there is no such file")
    try:
        with Image.open(path) as picture:
            picture.load()
            found = picture.copy()
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read {name}: it is no picture, or a damaged one") from error
    if found.mode != "RGB":
        raise ValueError(f"{name} is a picture of mode {found.mode}: save it as RGB, without transparency or a palette")
    return found


def _painted(name: str, size: tuple[int, int]) -> Image.Image:
    seed = name.removeprefix(PAINTED)
    if not seed.isdecimal():
        raise ValueError(f"{PAINTED}SEED needs a whole number, got {name!r}")
    try:
        from sfumato.portraits.samples import sample
    except ImportError as error:
        raise Unsupported("painted pictures need skia-python: pip install 'sfumato[portraits]'") from error
    picture, _, _ = sample(np.random.default_rng(int(seed)), size=min(size))
    return Image.fromarray(picture)


def _fitted(picture: Image.Image, size: tuple[int, int]) -> Any:
    """The largest part in the middle that has the size's shape, scaled to it."""
    height, width = size
    if picture.size == (width, height):
        return picture
    scale = min(picture.width / width, picture.height / height)
    cut_width, cut_height = round(width * scale), round(height * scale)
    left, top = (picture.width - cut_width) // 2, (picture.height - cut_height) // 2
    part = picture.crop((left, top, left + cut_width, top + cut_height))
    return part.resize((width, height), Image.Resampling.BICUBIC)
