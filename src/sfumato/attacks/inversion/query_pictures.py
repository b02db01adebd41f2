"""Pictures that a black box is asked about: painted ones, or those of a folder."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from sfumato.errors import Unsupported

PAINTED: Final = "painted"

_PURPOSE = 7
"""Parts the attacker's paintings from anyone else's with the same seed."""
_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})


@dataclass(frozen=True, kw_only=True)
class QueryPictures(ABC):
    """An ordered collection; frames of a clip are beside each other."""

    num_frames: int

    @property
    @abstractmethod
    def identity(self) -> str:
        """Another collection has another one."""

    @abstractmethod
    def check(self, count: int, *, worded: bool) -> None:
        """Finds out before anything is asked.

        Raises:
            ValueError: there are fewer pictures, or some without words.
        """

    @abstractmethod
    def pictures(self, start: int, stop: int, size: tuple[int, int]) -> Tensor:
        """Some of the pictures, as bytes of shape (batch, 3, height, width)."""

    @abstractmethod
    def texts(self, start: int, stop: int) -> list[str]:
        """What is seen in them, in words."""


@final
@dataclass(frozen=True, kw_only=True)
class Painted(QueryPictures):
    """Endless painted portraits and their captions."""

    seed: int

    @property
    def identity(self) -> str:
        """Seed and frames."""
        return f"{PAINTED} {self.seed} {self.num_frames}"

    def check(self, count: int, *, worded: bool) -> None:  # noqa: ARG002
        """Whether the painter is there.

        Raises:
            Unsupported: it is not.
        """
        try:
            import sfumato.portraits  # noqa: F401
        except ImportError as error:
            raise Unsupported(
                "painted pictures need skia-python: pip install 'sfumato[portraits]', or set questions to a folder"
            ) from error

    def pictures(self, start: int, stop: int, size: tuple[int, int]) -> Tensor:
        """Painted square, and cut in the middle."""
        height, width = size
        found = [
            _painted(self.seed, place // self.num_frames, self.num_frames, max(size)) for place in range(start, stop)
        ]
        rows = [clip[0][place % self.num_frames] for place, clip in zip(range(start, stop), found, strict=True)]
        top, left = (max(size) - height) // 2, (max(size) - width) // 2
        return torch.from_numpy(np.stack(rows)[:, top : top + height, left : left + width]).permute(0, 3, 1, 2)

    def texts(self, start: int, stop: int) -> list[str]:
        """The painter's captions."""
        return [_painted(self.seed, place // self.num_frames, self.num_frames, 16)[1] for place in range(start, stop)]


@final
@dataclass(frozen=True, kw_only=True)
class PictureFolder(QueryPictures):
    """The pictures of a folder in the order of their names; words are in a text file beside each."""

    path: Path

    @cached_property
    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            raise ValueError(f"questions must be {PAINTED!r} or a folder of pictures, got {str(self.path)!r}")
        return sorted(file for file in self.path.iterdir() if file.suffix.lower() in _ENDINGS)

    @property
    def identity(self) -> str:
        """Names, sizes and times of the files."""
        about = [(file.name, (told := file.stat()).st_size, told.st_mtime_ns) for file in self._files]
        return f"{about} {self.num_frames}"

    def check(self, count: int, *, worded: bool) -> None:
        """Whether there are as many."""
        if len(self._files) < count:
            raise ValueError(
                f"{self.path} has {len(self._files)} pictures and {count} are to be asked about: lower queries"
            )
        if worded and (bare := [file.name for file in self._files[:count] if not file.with_suffix(".txt").is_file()]):
            raise ValueError(
                f"{len(bare)} pictures in {self.path} have no words, the first is {bare[0]}: put a text file of the "
                "same name beside each, or leave out the prior"
            )

    def pictures(self, start: int, stop: int, size: tuple[int, int]) -> Tensor:
        """The largest part in the middle of each that has the size's shape, scaled to it."""
        rows = [_read(file, size) for file in self._files[start:stop]]
        return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)

    def texts(self, start: int, stop: int) -> list[str]:
        """The text files."""
        return [file.with_suffix(".txt").read_text(encoding="utf-8").strip() for file in self._files[start:stop]]


def query_pictures(questions: str, *, num_frames: int, seed: int) -> QueryPictures:
    """Finds a collection.

    Args:
        questions: "painted" or a folder.
        num_frames: of a clip.
        seed: of the painter.
    """
    if questions == PAINTED:
        return Painted(num_frames=num_frames, seed=seed)
    return PictureFolder(num_frames=num_frames, path=Path(questions))


@lru_cache(maxsize=64)
def _painted(seed: int, place: int, num_frames: int, side: int) -> tuple[Any, str]:
    from sfumato.portraits.clips import clip

    frames, _, text = clip(np.random.default_rng([_PURPOSE, seed, place]), num_frames, size=side)
    return frames, text


def _read(file: Path, size: tuple[int, int]) -> Any:
    try:
        with Image.open(file) as picture:
            fitted = ImageOps.fit(picture.convert("RGB"), (size[1], size[0]), Image.Resampling.BICUBIC)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"cannot read {file}: it is no picture, or a damaged one; take it out of the folder"
        ) from error
    return np.asarray(fitted)
