"""A tile's neighbours as a cloud sees them: asked through the client, or met where the spec lets clouds meet."""

from collections.abc import Callable, Sequence
from typing import no_type_check

import torch
from torch import Tensor

from sfumato.errors import WireError
from sfumato.protocols.group_norm import group_statistics
from sfumato.protocols.strip_split.edges import Edges
from sfumato.protocols.strip_split.graph import Place, Route
from sfumato.protocols.strip_split.layers import Around, Neighbours, Reply, Ring
from sfumato.protocols.strip_split.packing import Memory, Packed, Row, Wire, cut, pack, unpack, wire_dtype
from sfumato.protocols.strip_split.shapes import Batch, Shapes, answer_shapes, expected, is_centred
from sfumato.protocols.strip_split.spec import Attended, Begin, Border, Hidden, Meeting, StripSplit, Surroundings
from sfumato.protocols.strip_split.tiling import Halo, Tiling

_Answer = tuple[Packed, Packed | None, Tensor | None]
"""Cells, those around the tile on their way to a sampler, statistics."""


class AskingNeighbours(Neighbours):
    """Asks the client, one meeting after another; ``edges`` are the other clouds, where they meet without it."""

    ask: Callable[[Meeting], Meeting]
    step: int
    lane: int

    def __init__(self, spec: StripSplit, routes: Sequence[Route], tile: int, edges: Edges | None = None):
        self._spec = spec
        self._edges = edges
        self._tile = tile
        self._routes = routes
        self._memory = Memory()
        # What attention gave last, for steps that use it again.
        self._attended: dict[str, Tensor] = {}

    def begin(self, request: Begin, tiling: Tiling, rows: int, dtype: torch.dtype) -> None:
        """Starts a step."""
        self.step, self._tiling, self._dtype = request.step, tiling, dtype
        self.lane, self._batch = request.lane, Batch(rows, request.repeats)
        if self._edges is not None:
            self._edges.begin(request, tiling, self._batch)
        self._reuses = self._spec.reuses_attention(request.step)
        route = self._routes[self._reuses]
        self._places = {place.path: place for place in route.all}
        self._samplers = {p.ahead.path: (p.level, p.ahead.reach) for p in route.all if p.ahead}
        self._skips = {place.skip for place in route.all}
        self._told = _Told(request, self._spec.wire, route.first)
        self._round = 0
        self._asked: Meeting | None = None
        # Cells around the tile: of samplers to come, and of maps that a skip connection will lead to again.
        self._known: dict[str, Tensor] = {}
        self._kept: dict[str, Tensor] = {}

    def expects(self, answer: Meeting) -> bool:
        """Whether an answer is the one that is due."""
        asked = self._asked
        kind = Surroundings if isinstance(asked, Border) else Attended
        return (
            asked is not None
            and isinstance(answer, kind)
            and (answer.step, answer.round, answer.path) == (asked.step, asked.round, asked.path)
        )

    def know(self, path: str, ring: Tensor) -> None:
        """Keeps cells for a place to come."""
        self._known[path] = ring.flatten(2)

    @no_type_check
    def surroundings(self, path, own, norm):
        """Asks for what is not known yet: the skip connection's part was around the tile once before."""
        place = self._places.get(path)
        level, reach = (place.level, place.reach) if place else self._samplers[path]
        halo = self._tiling.halos(level, reach)[self._tile]
        if place is None:
            ring, statistics = self._known.pop(path), None
        else:
            given = own[:, : place.channels]
            if not place.is_direct:
                given = given.flatten(2).index_select(2, halo.given)
            ring, _, statistics = self._meet(Border, place, own, given, norm)
            if place.skip is not None:
                ring = torch.cat([ring, self._kept.pop(place.skip)], dim=1)
        if path in self._skips:
            self._kept[path] = ring
        return Around(_surrounded(own, ring, halo), halo, statistics)

    @no_type_check
    def whole_statistics(self, path, own, norm):
        """Asks without cells."""
        place = self._places[path]
        nothing = own.new_empty(*own.shape[:2], 0) if not place.is_direct else own
        return self._meet(Border, place, own, nothing, norm)[2]

    @no_type_check
    def attended(self, path, own, norm):
        """Asks with the whole tile, or remembers what came of it in an earlier step."""
        if self._reuses:
            before = f"{path.rsplit('.', 2)[0]}.norm"
            return Reply(self._last(path, own), None if norm is None else self.whole_statistics(before, own, norm))
        place = self._places[path]
        cells, around, statistics = self._meet(Hidden, place, own, own.flatten(2), norm)
        num_cells = own.shape[2] * own.shape[3]
        answer = cells[:, :, :num_cells].unflatten(2, own.shape[2:])
        if self._spec.attention_every > 1:
            self._attended[path] = answer
        if around is None:
            return Reply(answer, statistics)
        if not around.shape[2]:
            # The only tile: a layer given no cells would refuse them.
            self.know(place.ahead.path, around[:, : own.shape[1]])
            return Reply(answer, statistics)
        x, *hidden = around.unsqueeze(2).split(own.shape[1], dim=1)
        delta = cells[:, :, num_cells:].unsqueeze(2)
        return Reply(answer, statistics, Ring(place.ahead.path, delta, x, *hidden))

    def _last(self, path: str, own: Tensor) -> Tensor:
        last = self._attended.get(path)
        if last is None or last.shape[0] != own.shape[0] or last.shape[2:] != own.shape[2:]:
            raise WireError("a step came that uses attention's results again, and there are none that fit")
        return last

    @no_type_check
    def _meet(self, kind, place, own, cells, norm):
        """What comes back at a place, for all rows: cells, those around, statistics.

        ``cells`` are those to send, and where clouds meet directly the whole map, for each is sent another part.
        """
        due = answer_shapes(place, self._tiling, self._tile, self._batch, self._spec, self.step)
        if self._told.is_next():
            return self._for_all(place, due, self._told.take(due))
        rows = self._batch.rows_at(place)
        statistics = None if norm is None else torch.stack(group_statistics(own[:rows], norm.num_groups))
        if place.is_direct:
            ring, statistics = self._edges.meet(place, cells[:rows], statistics)
            return self._spread(ring, 0), None, None if statistics is None else self._spread(statistics, 1)
        packed = pack(cells[:rows], self._spec.wire, due.group)
        self._asked = kind(
            step=self.step,
            lane=self.lane,
            round=self._round,
            path=place.path,
            statistics=statistics,
            values=packed.values,
            scales=packed.scales,
        )
        answer = self.ask(self._asked)
        self._round += 1
        return self._for_all(place, due, _read(answer, due))

    @no_type_check
    def _for_all(self, place, due, answer):
        cells, around, statistics = answer
        return (
            self._spread(self._unpacked(place, due, cells), 0),
            None if around is None else self._spread(unpack(around, self._dtype, due.wire), 0),
            None if statistics is None else self._spread(statistics, 1),
        )

    def _unpacked(self, place: Place, due: Shapes, cells: Packed) -> Tensor:
        if self._spec.differences == "none" or not due.is_centred:
            return unpack(cells, self._dtype, due.format)
        try:
            return self._memory.unpack(place.path, cells, due.format).to(self._dtype)
        except (KeyError, RuntimeError) as error:
            raise WireError("a difference came to a step that this cloud does not know") from error

    def _spread(self, tensor: Tensor, dim: int) -> Tensor:
        """The same for both guidance halves, where it came once."""
        return tensor if tensor.shape[dim] == self._batch.rows else torch.cat([tensor] * self._batch.repeats, dim)


class _Told:
    """The answers at a step's first places, which came with its beginning."""

    def __init__(self, request: Begin, wire: Wire, first: Sequence[Place]):
        self._wire, self._left = wire, len(first)
        is_told = len(first) > 0
        has_scales = (is_told and wire == "int8") or (wire == "fp16" and any(map(is_centred, first)))
        for flat, is_due, dtype in (
            (request.statistics, is_told, torch.float32),
            (request.values, is_told, wire_dtype(wire)),
            (request.scales, has_scales, torch.float16),
        ):
            # Of any length: with one tile there may be no cells around it.
            require_optional(flat, (flat.numel(),) if is_due and flat is not None else None, dtype)
            if is_due and flat is None:
                raise WireError("a step began without the answers at its first places")
        if request.values is not None:
            self._row = Row(request.values, request.scales)
            self._statistics = request.statistics

    def is_next(self) -> bool:
        """Whether the next place is answered already."""
        return self._left > 0

    def take(self, due: Shapes) -> _Answer:
        """The next answer."""
        self._left -= 1
        cells = self._row.take(due.cells, due.format, due.group, is_centred=due.is_centred)
        around = self._row.take(due.around, self._wire, due.group) if due.around else None
        statistics = None
        if due.statistics:
            statistics, self._statistics = cut(self._statistics, due.statistics)
        if not self._left:
            self._row.end()
        return cells, around, statistics


def _read(answer: Meeting, due: Shapes) -> _Answer:
    for field, wanted in expected(due).items():
        require_optional(getattr(answer, field, None), *(wanted or (None,)))
    if not isinstance(answer, Attended):
        return Packed(answer.values, answer.scales), None, answer.statistics
    around = None if answer.around is None else Packed(answer.around, answer.around_scales)
    return Packed(answer.values, answer.scales, answer.means), around, answer.statistics


def _surrounded(own: Tensor, ring: Tensor, halo: Halo) -> Tensor:
    cells = own.new_empty(*own.shape[:2], halo.needed.shape[0] * halo.needed.shape[1])
    cells.index_copy_(2, halo.ring.to(own.device), ring)
    cells = cells.unflatten(2, halo.needed.shape)
    cells[(..., *halo.own.within(halo.needed))] = own
    return cells


def require(tensor: Tensor, shape: tuple[int | None, ...], dtype: torch.dtype | None = None) -> None:
    """Refuses a tensor of another shape (None is any length from 1) or format (None is any float).

    Raises:
        WireError: it does not fit.
    """
    fits = tensor.ndim == len(shape) and all(
        g > 0 if w is None else g == w for w, g in zip(shape, tensor.shape, strict=True)
    )
    if not fits or (tensor.dtype != dtype if dtype else not tensor.is_floating_point()):
        raise WireError(f"a tensor of shape {tuple(tensor.shape)} and format {tensor.dtype} does not fit where it came")


def require_optional(
    tensor: Tensor | None, shape: tuple[int | None, ...] | None, dtype: torch.dtype | None = None
) -> None:
    """The same for a tensor that is due only where a shape is."""
    if (tensor is None) != (shape is None):
        raise WireError("a tensor came where none was due, or one that was due did not come")
    if tensor is not None and shape is not None:
        require(tensor, shape, dtype)
