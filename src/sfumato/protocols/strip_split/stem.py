"""The layers up to the first attention, computed by the client for all tiles at once."""

from collections.abc import Sequence
from typing import Any, NamedTuple, no_type_check

import torch
from torch import Tensor, nn

from sfumato.models.denoiser import Conditioning
from sfumato.models.layers import sharing_copy
from sfumato.protocols.group_norm import group_statistics
from sfumato.protocols.strip_split.attending import Attention
from sfumato.protocols.strip_split.graph import Place, Route
from sfumato.protocols.strip_split.layers import Around, Neighbours, Reply, replace_forwards
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.protocols.strip_split.tiling import Tiling
from sfumato.tensors import FeatureMap, Latent

Statistics = tuple[Tensor, Tensor]
"""Mean and variance of each group."""


class Met(NamedTuple):
    """What one place is answered from."""

    place: Place
    features: FeatureMap
    """The whole map."""
    statistics: Statistics | None
    result: FeatureMap | None
    """Attention's, at the last place."""

    def of(self, rows: slice) -> "Met":
        """Some rows of it; where one guidance half stands for both, that one."""
        features, result = (None if t is None else _part(t, rows) for t in (self.features, self.result))
        statistics = self.statistics and (_part(self.statistics[0], rows), _part(self.statistics[1], rows))
        assert features is not None
        return Met(self.place, features, statistics, result)


def _part(tensor: Tensor, rows: slice) -> Tensor:
    return tensor[rows] if len(tensor) >= rows.stop else tensor


class Stem:
    """Runs diffusers' own U-Net up to the first attention on the whole map.

    Args:
        unet: with the weights of the stem; left as it is.
        spec: says that the client computes the stem.
        routes: whose first places to answer, of ordinary steps and of those that reuse attention's results.
        attention: the client's.
    """

    def __init__(self, unet: nn.Module, spec: StripSplit, routes: Sequence[Route], attention: Attention):
        self._unet: Any = sharing_copy(unet)
        self._alone = _Alone(routes, attention)
        replace_forwards(self._unet, spec, self._alone)

    def run(self, latent: Latent, timestep: Tensor, conditioning: Conditioning, *, reuses: bool) -> list[Met]:
        """What every tile is answered at the first places, in their order.

        Args:
            latent: scaled.
            timestep: of the scheduler.
            conditioning: of the run.
            reuses: whether attention's results are those of an earlier step.
        """
        repeats = conditioning.batch // len(latent)
        is_alike = conditioning.added() is None
        sample = latent if is_alike else torch.cat([latent] * repeats)
        self._alone.begin(self._unet, sample, slice(0, conditioning.batch), reuses)
        try:
            self._unet(sample, timestep, encoder_hidden_states=None, added_cond_kwargs=conditioning.added())
        except _FarEnough:
            return self._alone.met
        raise AssertionError("a U-Net without attention has no stem")


class _FarEnough(Exception):
    """Ends the forward after the first attention."""


class _Alone(Neighbours):
    """A tile that is the whole map: it has no neighbours, and writes down what tiles would have met."""

    met: list[Met]

    def __init__(self, routes: Sequence[Route], attention: Attention):
        self._routes = routes
        self._attention = attention

    def begin(self, unet: Any, sample: Latent, rows: slice, reuses: bool) -> None:
        """Starts a step; ``rows`` are those of the text."""
        self.met, self._rows, self._reuses = [], rows, reuses
        self._places = {place.path: place for place in self._routes[reuses].first}
        height, width = sample.shape[-2:]
        self._tiling = Tiling(height, width, 1, 1, len(unet.config.block_out_channels))

    @no_type_check
    def surroundings(self, path, own, norm):
        place = self._places[path]
        statistics = None if norm is None else group_statistics(own, norm.num_groups)
        self.met.append(Met(place, own, statistics, None))
        halo = self._tiling.halos(place.level, place.reach)[0]
        return Around(own, halo, None if statistics is None else torch.stack(statistics))

    @no_type_check
    def attended(self, path, own, norm) -> Reply:
        statistics = group_statistics(own, norm.num_groups)
        if self._reuses:
            path, result = f"{path.rsplit('.', 2)[0]}.norm", None
        else:
            result = self._attention.block(path, own, statistics, self._rows)
        self.met.append(Met(self._places[path], own, statistics, result))
        raise _FarEnough

    @no_type_check
    def whole_statistics(self, path, own, norm):  # noqa: ARG002
        raise AssertionError("only a fused attention has a stem on the client")

    @no_type_check
    def know(self, path, ring):  # noqa: ARG002
        raise AssertionError("nothing comes ahead to a tile without neighbours")
