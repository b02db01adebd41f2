"""A cloud's U-Net on its tile, run again with the answers that the cloud was given: every map that it held."""

from collections.abc import Iterable
from functools import partial
from typing import Any, no_type_check

import torch
from torch import Tensor, nn

from sfumato.attacks.seen.tile_notes import Enough, Held, NotingNeighbours, map_window, noted_at
from sfumato.models.layers import sharing_copy
from sfumato.protocols.strip_split.asking import AskingNeighbours
from sfumato.protocols.strip_split.graph import routes_of
from sfumato.protocols.strip_split.layers import convolve_tile, replace_forwards
from sfumato.protocols.strip_split.spec import Begin, Meeting, StripSplit
from sfumato.protocols.strip_split.tiling import tiling_of


class TileReplay:
    """Runs one lane's steps again, in their order, and gives the input of one layer.

    Args:
        spec: of the session.
        unet: public; left as it is.
        tile: the cloud's.
        path: of the layer.
    """

    def __init__(self, spec: StripSplit, unet: nn.Module, tile: int, path: str):
        routes = routes_of(unet, spec)
        self._spec, self._tile, self._path = spec, tile, path
        self._unet: Any = sharing_copy(unet)
        self._asking = AskingNeighbours(spec, routes, tile)
        self._place = noted_at(path, unet, spec)
        # What attention gave is remembered from step to step by some settings: then no step may be cut short.
        may_stop = spec.differences == "none" and spec.attention_every == 1
        self._noting = NotingNeighbours(self._asking, self._unet, path, self._place, may_stop)
        self._levels = {place.path: place.level for route in routes for place in route.all}
        replace_forwards(self._unet, spec, self._noting)
        self._text: dict[str, Tensor] = {}

    @torch.no_grad()
    def step(self, begin: Begin, answers: Iterable[Meeting]) -> Held | None:
        """One step; None where the answers end too early.

        Args:
            begin: the cloud's first message of the step.
            answers: all others, in order.
        """
        levels = len(self._unet.config.block_out_channels)
        tiling = tiling_of(self._spec.num_tiles, self._spec.num_columns, begin.height, begin.width, levels)
        halo = tiling.halos(0, "conv")[self._tile]
        latent = torch.cat([begin.latent] * begin.repeats)
        if self._path == "conv_in":
            return Held(latent, map_window(halo.needed, tiling.size(0)))
        told = {name: getattr(begin, name) for name in ("prompt_embeds", "pooled", "time_ids")}
        self._text |= {name: tensor for name, tensor in told.items() if tensor is not None}
        self._asking.begin(begin, tiling, len(latent), latent.dtype)
        self._asking.ask = partial(_next, iter(answers))
        self._unet.conv_in.forward = partial(_first, self._unet.conv_in, latent, halo)
        self._noting.begin(tiling.tiles(self._level())[self._tile], tiling.size(self._level()))
        try:
            self._run(latent[(..., *halo.own.within(halo.needed))], begin.timestep)
        except Enough:
            pass
        except _Ended:
            return None
        return self._noting.held

    def _level(self) -> int:
        """Of the map that the layer works on."""
        prefix = self._place or self._path
        while prefix:
            for path, level in self._levels.items():
                if path == prefix or path.startswith(f"{prefix}."):
                    return level
            prefix = prefix.rpartition(".")[0]
        return 0

    def _run(self, own: Tensor, timestep: float) -> None:
        handles = []
        if self._place is None:
            layer = self._unet.get_submodule(self._path)
            handles.append(layer.register_forward_pre_hook(lambda _, inputs: self._noting.hear(inputs[0])))
        added = {"text_embeds": self._text.get("pooled"), "time_ids": self._text.get("time_ids")}
        try:
            self._unet(
                own,
                timestep,
                encoder_hidden_states=self._text.get("prompt_embeds"),
                added_cond_kwargs=None if added["time_ids"] is None else added,
                return_dict=False,
            )
        finally:
            for handle in handles:
                handle.remove()


class _Ended(Exception):
    """The recording holds no further answer."""


def _next(answers: Any, _: Meeting) -> Meeting:
    for answer in answers:
        return answer
    raise _Ended


@no_type_check
def _first(conv, latent, halo, _):
    return convolve_tile(conv, latent, halo)
