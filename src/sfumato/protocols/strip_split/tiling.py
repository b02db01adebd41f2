"""Tiles and halos: which cells of every feature map a cloud holds, needs from others, and gives to others.

Rows are cut as in :mod:`sfumato.protocols.partition`, and columns the same way. A halo is kept as a list of cells in
row-major order, so that strips, quadrants and tiles at the border of the picture are one case.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sfumato.protocols.partition import Partition, Rows

Reach = Literal["conv", "down", "up"]
"""What comes next on a map: a 3x3 convolution, one of stride 2, or doubling followed by a 3x3 convolution.

Surroundings are one line of cells on every side for all three. A convolution of stride 2 reads less of it, but the map
that it halves is a skip connection's too, and the whole line is needed on the way up.
"""


_MOST_COLUMNS = 256
"""That are tried: the numbers may come from a peer."""


class Tile(NamedTuple):
    """Rows and columns of a map, half-open."""

    rows: Rows
    columns: Rows

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows.num_rows, self.columns.num_rows

    @property
    def slices(self) -> tuple[slice, slice]:
        """To cut it out of a map."""
        return slice(*self.rows), slice(*self.columns)

    def within(self, other: "Tile") -> tuple[slice, slice]:
        """Its place in ``other``, which holds it."""
        top, left = self.rows.start - other.rows.start, self.columns.start - other.columns.start
        return slice(top, top + self.rows.num_rows), slice(left, left + self.columns.num_rows)

    def mask(self, height: int, width: int) -> Tensor:
        """True at its cells of a map."""
        found = torch.zeros(height, width, dtype=torch.bool)
        found[self.slices] = True
        return found


@dataclass(frozen=True)
class Halo:
    """What one tile needs and gives where a map is about to be convolved."""

    own: Tile
    needed: Tile
    """Its own cells and those around that the next layer reads, within the picture."""
    read: Tile
    """The cells that the convolution reads, beyond the picture's border too; after doubling for an upsampler."""
    is_doubled: bool
    """Whether the map is doubled before it is read."""
    limit: tuple[int, int]
    """Height and width of the map that the convolution reads."""
    ring: Tensor
    """The cells of ``needed`` that are not its own, as indices into ``needed``."""
    ring_in_map: Tensor
    """The same as indices into the whole map."""
    given: Tensor
    """Its cells that others need, as indices into its own."""
    given_in_map: Tensor
    """The same as indices into the whole map."""


def _read(reach: Reach, strip: Rows, output: Rows) -> Rows:
    """Rows that a convolution reads for a strip, zeros beyond the border included."""
    match reach:
        case "conv":
            return Rows(strip.start - 1, strip.stop + 1)
        case "down":
            return Rows(2 * output.start - 1, 2 * output.stop)
        case "up":
            return Rows(output.start - 1, output.stop + 1)


def _needed(strip: Rows, length: int) -> Rows:
    """A strip's rows and one on either side, within the map."""
    return Rows(max(strip.start - 1, 0), min(strip.stop + 1, length))


@dataclass(frozen=True)
class Tiling:
    """The tiles of every map of a U-Net.

    Args:
        height, width: of the latent.
        num_rows, num_columns: tiles down and across.
        num_levels: resolutions of the U-Net.

    Raises:
        ValueError: more tiles than the deepest map has rows or columns.
    """

    height: int
    width: int
    num_rows: int
    num_columns: int
    num_levels: int

    def __post_init__(self) -> None:
        _require_room(self.height, self.num_rows, self.num_levels, "rows", "down")
        _require_room(self.width, self.num_columns, self.num_levels, "columns", "across")

    @cached_property
    def _cuts(self) -> tuple[Partition, Partition]:
        rows = Partition(self.height, self.num_rows, self.num_levels)
        columns = Partition(self.width, self.num_columns, self.num_levels)
        return rows, columns

    def size(self, level: int) -> tuple[int, int]:
        """Height and width of the maps of a level, 0 at the top."""
        rows, columns = self._cuts
        return rows.heights()[level], columns.heights()[level]

    def tiles(self, level: int) -> list[Tile]:
        """Every tile of a level, row by row."""
        (rows, columns), (height, width) = self._cuts, self.size(level)
        return [Tile(r, c) for r, c in product(rows.strips(height), columns.strips(width))]

    def num_cells(self, level: int, tile: int) -> int:
        """Cells of one tile."""
        height, width = self.tiles(level)[tile].shape
        return height * width

    def needed(self, level: int) -> list[Tile]:
        """What every tile needs before a layer that reads across its border: its own cells and those around."""
        height, width = self.size(level)
        return [Tile(_needed(t.rows, height), _needed(t.columns, width)) for t in self.tiles(level)]

    def read(self, level: int, reach: Reach) -> list[Tile]:
        """The cells that a layer of that reach reads for every tile, beyond the picture's border too."""
        outputs = self.tiles({"conv": level, "down": level + 1, "up": level - 1}[reach])
        return [
            Tile(_read(reach, a.rows, b.rows), _read(reach, a.columns, b.columns))
            for a, b in zip(self.tiles(level), outputs, strict=True)
        ]

    def halos(self, level: int, reach: Reach) -> list[Halo]:
        """Every tile's halo, before a layer of that reach."""
        return _halos(self, level, reach)


def tiling_of(num_tiles: int, num_columns: int, height: int, width: int, num_levels: int) -> Tiling:
    """Cuts a latent into tiles.

    Args:
        num_tiles: all together.
        num_columns: tiles across; 0 takes the shortest borders of all that fit, and of two equal ones fewer columns.
        height, width: of the latent.
        num_levels: resolutions of the U-Net.

    Raises:
        ValueError: more tiles than the deepest map has rows or columns.
    """

    def cut(columns: int) -> Tiling:
        return Tiling(height, width, num_tiles // columns, columns, num_levels)

    if num_columns:
        return cut(num_columns)
    fitting = []
    for columns in range(1, min(num_tiles, width, _MOST_COLUMNS) + 1):
        if num_tiles % columns == 0:
            with suppress(ValueError):
                fitting.append(cut(columns))
    return min(fitting, key=lambda t: (t.num_rows - 1) * width + (t.num_columns - 1) * height) if fitting else cut(1)


def _require_room(length: int, num_tiles: int, num_levels: int, lines: str, way: str) -> None:
    deepest = -(-length // 2 ** (num_levels - 1))
    if num_tiles > deepest:
        raise ValueError(
            f"a latent of {length} {lines} can be cut into at most {deepest} tiles {way}, got {num_tiles}: "
            "use fewer clouds or a larger picture"
        )


@lru_cache(maxsize=256)
def _halos(tiling: Tiling, level: int, reach: Reach) -> list[Halo]:
    height, width = tiling.size(level)
    own, read, needed = tiling.tiles(level), tiling.read(level, reach), tiling.needed(level)
    limit = tiling.size(level - 1 if reach == "up" else level)
    masks = [tile.mask(height, width) for tile in own]
    wanted = [n.mask(height, width) & ~m for n, m in zip(needed, masks, strict=True)]
    return [
        _halo(
            own[i], needed[i], read[i], reach, limit, wanted[i], masks[i] & _any(wanted[:i] + wanted[i + 1 :], masks[i])
        )
        for i in range(len(own))
    ]


def _any(masks: Sequence[Tensor], like: Tensor) -> Tensor:
    return torch.stack(list(masks)).any(0) if masks else torch.zeros_like(like)


def _halo(
    own: Tile, needed: Tile, read: Tile, reach: Reach, limit: tuple[int, int], wanted: Tensor, given: Tensor
) -> Halo:
    return Halo(
        own=own,
        needed=needed,
        read=read,
        is_doubled=reach == "up",
        limit=limit,
        ring=wanted[needed.slices].flatten().nonzero().flatten(),
        ring_in_map=wanted.flatten().nonzero().flatten(),
        given=given[own.slices].flatten().nonzero().flatten(),
        given_in_map=given.flatten().nonzero().flatten(),
    )
