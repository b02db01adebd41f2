"""Where clouds meet without the client: what a tile sends to the others, and what it makes of theirs."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from sfumato.errors import WireError
from sfumato.protocols.replies import check
from sfumato.protocols.strip_split.graph import Place
from sfumato.protocols.strip_split.merging import merged
from sfumato.protocols.strip_split.packing import HALO_GROUP, Packed, pack, unpack
from sfumato.protocols.strip_split.shapes import Batch, Expected, edge_shapes, expected
from sfumato.protocols.strip_split.spec import Begin, Edge, StripSplit
from sfumato.protocols.strip_split.tiling import Tiling
from sfumato.tensors import FeatureMap
from sfumato.transport.peers import Peers
from sfumato.wire.codec import data_size

_Due = dict[str, Expected | None]


class Lent(NamedTuple):
    """Cells of one tile that lie around another."""

    given: Tensor
    """As indices into the giver's own."""
    taken: Tensor
    """As indices into those around the taker."""


class Edges:
    """One lane's exchanges with the clouds that have the other tiles.

    Run by: worker.
    Reveals: to each of these clouds, what :class:`~sfumato.protocols.strip_split.spec.Edge` says.

    Args:
        spec: the session's.
        cloud_index: of this cloud.
        peers: the clouds that the spec names.
    """

    def __init__(self, spec: StripSplit, cloud_index: int, peers: Peers):
        self._spec = spec
        self._tile = cloud_index % spec.num_tiles
        self._clouds = spec.peers_of(cloud_index)
        self._peers = peers

    def begin(self, request: Begin, tiling: Tiling, batch: Batch) -> None:
        """Starts a step."""
        self._step, self._lane, self._round = request.step, request.lane, 0
        self._tiling, self._batch = tiling, batch

    def meet(self, place: Place, own: FeatureMap, statistics: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The cells around the tile, and the whole map's statistics.

        Args:
            place: where the clouds meet.
            own: the tile's map, with the rows and channels that are exchanged.
            statistics: (two, rows, groups), of the tile.

        Raises:
            TransportError: a cloud is gone.
            WireError: one is out of step, or sent what was not due.
            WorkerError: one sent numbers that are not finite.
        """
        cells = own.flatten(2)
        sent, due = {}, {}
        for cloud in self._clouds:
            mine, theirs = self._lent(place, self._tile, cloud), self._lent(place, cloud, self._tile)
            # Tiles that do not touch have only statistics to exchange.
            if statistics is not None or len(mine.given):
                sent[cloud] = self._edge(place, cells.index_select(2, mine.given.to(cells.device)), statistics)
            if statistics is not None or len(theirs.taken):
                due[cloud] = expected(edge_shapes(place, len(theirs.taken), self._batch, self._spec))
        sizes = {cloud: data_size(t for t in each.values() if t) for cloud, each in due.items()}
        found = self._peers.exchange(sent, sizes, Edge)
        for cloud, edge in found.items():
            self._check(f"cloud-{cloud + 1}", edge, place, due[cloud])
        self._round += 1
        return self._ring(place, own, found), self._merged(place, statistics, found)

    def take_sent_bytes(self) -> int:
        """Bytes sent since the last call."""
        return self._peers.take_sent_bytes()

    def _lent(self, place: Place, giver: int, taker: int) -> Lent:
        num_tiles = self._spec.num_tiles
        lent = _lent(self._tiling, place.level, giver % num_tiles, taker % num_tiles)
        return Lent(lent.given[:0], lent.taken[:0]) if place.kind == "norm" else lent

    def _edge(self, place: Place, cells: Tensor, statistics: Tensor | None) -> Edge:
        packed = pack(cells, self._spec.wire, HALO_GROUP)
        return Edge(
            step=self._step,
            lane=self._lane,
            round=self._round,
            path=place.path,
            statistics=statistics,
            values=packed.values,
            scales=packed.scales,
        )

    def _check(self, cloud: str, edge: Edge, place: Place, due: _Due) -> None:
        if (edge.step, edge.lane, edge.round, edge.path) != (self._step, self._lane, self._round, place.path):
            raise WireError(
                f"{cloud} sent what belongs to exchange {edge.round} of step {edge.step} where exchange {self._round} "
                f"of step {self._step} was due, at {place.path}: it runs other code or another model"
            )
        for name in ("statistics", "values", "scales"):
            tensor, wanted = getattr(edge, name), due[name]
            if (tensor is None) != (wanted is None):
                raise WireError(
                    f"{cloud} came to {place.path} {'without' if wanted else 'with'} {name}: "
                    "it runs other code or another model"
                )
            if tensor is not None and wanted is not None:
                check(cloud, tensor, *wanted, place.path)

    def _ring(self, place: Place, own: FeatureMap, found: dict[int, Edge]) -> Tensor:
        num_cells = 0 if place.kind == "norm" else len(self._tiling.halos(place.level, "conv")[self._tile].ring)
        ring = own.new_empty(*own.shape[:2], num_cells)
        for cloud, edge in found.items():
            taken = self._lent(place, cloud, self._tile).taken.to(own.device)
            ring.index_copy_(2, taken, unpack(Packed(edge.values, edge.scales), own.dtype, self._spec.wire))
        return ring

    def _merged(self, place: Place, own: Tensor | None, found: dict[int, Edge]) -> Tensor | None:
        if own is None:
            return None
        parts = {cloud % self._spec.num_tiles: edge.statistics for cloud, edge in found.items()} | {self._tile: own}
        every = [part for _, part in sorted(parts.items()) if part is not None]
        return torch.stack(merged(every, self._tiling, place.level)).float()


@lru_cache(maxsize=4096)
def _lent(tiling: Tiling, level: int, giver: int, taker: int) -> Lent:
    own, needed = tiling.tiles(level)[giver], tiling.needed(level)[taker]
    size = tiling.size(level)
    both = own.mask(*size) & needed.mask(*size)
    # Every reach has the same cells around a tile.
    around = tiling.halos(level, "conv")[taker].ring_in_map
    given = both[own.slices].flatten().nonzero().flatten()
    return Lent(given, torch.searchsorted(around, both.flatten().nonzero().flatten()))
