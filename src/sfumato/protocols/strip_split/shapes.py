"""What both sides know beforehand of every message between them: its shapes, and how its cells are packed."""

from typing import NamedTuple

import torch

from sfumato.protocols.strip_split.graph import Place
from sfumato.protocols.strip_split.packing import HALO_GROUP, TOKEN_GROUP, Format, Wire, packed_shapes, wire_dtype
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.protocols.strip_split.tiling import Tiling

Cells = tuple[int, int, int]
"""(rows, channels, cells)."""


class Batch(NamedTuple):
    """The U-Net's batch on one cloud."""

    rows: int
    repeats: int
    """Guidance halves among them."""

    def rows_at(self, place: Place) -> int:
        """Rows that are sent to the client, and merged."""
        return self.rows // self.repeats if place.is_alike else self.rows

    def rows_after(self, place: Place) -> int:
        """Rows that are answered."""
        return self.rows if place.parts_halves else self.rows_at(place)


class Shapes(NamedTuple):
    """Of one message at one place."""

    statistics: Cells | None
    """(two, rows, groups)."""
    cells: Cells
    around: Cells | None
    group: int
    """Channels that share a scale."""
    is_centred: bool
    """Whether the cells' means travel apart."""
    wire: Wire
    format: Format
    """Of the cells; everything else is as the wire says."""


def asked_shapes(place: Place, tiling: Tiling, tile: int, batch: Batch, spec: StripSplit) -> Shapes:
    """Of what a cloud sends where it stops."""
    rows = batch.rows_at(place)
    num_cells = _num_cells(place, tiling, tile)
    if place.kind == "border":
        num_cells = len(tiling.halos(place.level, place.reach)[tile].given)
    cells = (rows, place.channels, num_cells)
    return Shapes(_statistics(place, rows), cells, None, group_at(place), False, spec.wire, spec.wire)


def edge_shapes(place: Place, num_cells: int, batch: Batch, spec: StripSplit) -> Shapes:
    """Of what one cloud sends another, with so many of its cells."""
    rows = batch.rows_at(place)
    return Shapes(
        _statistics(place, rows), (rows, place.channels, num_cells), None, group_at(place), False, spec.wire, spec.wire
    )


def answer_shapes(place: Place, tiling: Tiling, tile: int, batch: Batch, spec: StripSplit, step: int) -> Shapes:
    """Of what the client answers."""
    rows = batch.rows_at(place)
    num_cells = _num_cells(place, tiling, tile)
    around: Cells | None = None
    if place.kind == "border":
        num_cells = len(tiling.halos(place.level, place.reach)[tile].ring)
    elif place.ahead:
        ring = len(tiling.halos(place.level, place.ahead.reach)[tile].ring)
        num_cells += ring
        around = (rows, place.ahead.channels, ring)
    cells = (batch.rows_after(place), place.width, num_cells)
    statistics, form = _statistics(place, rows), format_at(place, spec, step)
    return Shapes(statistics, cells, around, group_at(place), is_centred(place), spec.wire, form)


def _num_cells(place: Place, tiling: Tiling, tile: int) -> int:
    """Of a tile on its way into attention; none where only statistics meet."""
    return 0 if place.kind == "norm" else tiling.num_cells(place.level, tile)


def format_at(place: Place, spec: StripSplit, step: int) -> Format:
    """How the cells of an answer are packed."""
    is_difference = spec.differences == "int4" and step > 0 and is_centred(place)
    return "int4" if is_difference else spec.wire


def is_centred(place: Place) -> bool:
    """Whether the means of an answer's cells travel apart: of what attention gives."""
    return place.kind not in ("border", "norm")


def group_at(place: Place) -> int:
    """Channels that share a scale in the cells of a place."""
    return HALO_GROUP if place.kind in ("border", "norm") else TOKEN_GROUP


def _statistics(place: Place, rows: int) -> Cells | None:
    return (2, rows, place.num_groups) if place.num_groups else None


Expected = tuple[tuple[int, ...], torch.dtype]


def expected(shapes: Shapes) -> dict[str, Expected | None]:
    """The tensors of a message by field: shape and format, or None where none is due."""
    wire = shapes.wire
    cells = packed_shapes(shapes.cells, shapes.format, shapes.group)
    around = packed_shapes(shapes.around, wire, shapes.group) if shapes.around else (None, None)
    shapes_of: dict[str, tuple[tuple[int, ...] | None, torch.dtype]]
    means = shapes.cells[:2] if shapes.is_centred and wire != "fp32" else None
    shapes_of = {"statistics": (shapes.statistics, torch.float32), "means": (means, torch.float16)}
    for values, scales, (shape, of_scales) in (("values", "scales", cells), ("around", "around_scales", around)):
        shapes_of |= {values: (shape, wire_dtype(wire)), scales: (of_scales, torch.float16)}
    return {name: None if shape is None else (shape, dtype) for name, (shape, dtype) in shapes_of.items()}
