"""One U-Net on one tile, step after step."""

from functools import partial
from typing import Any, no_type_check

import torch
from torch import Tensor, nn

from sfumato.errors import WireError
from sfumato.models.layers import sharing_copy
from sfumato.protocols.strip_split.asking import AskingNeighbours, require, require_optional
from sfumato.protocols.strip_split.edges import Edges
from sfumato.protocols.strip_split.graph import routes_of
from sfumato.protocols.strip_split.layers import convolve_tile, replace_forwards
from sfumato.protocols.strip_split.spec import Begin, Meeting, StripSplit, TilePrediction
from sfumato.protocols.strip_split.suspended import Suspended
from sfumato.protocols.strip_split.tiling import Halo, Tiling, tiling_of
from sfumato.wire.messages import Message


class TileUNet:
    """A U-Net that is suspended between two messages of its client.

    Args:
        spec: the session's.
        unet: left as it is; the forwards are replaced in a copy that shares its weights, for other sessions compute
            with the same one.
        tile: this cloud's.
        edges: the other clouds, where the spec lets them meet.
    """

    def __init__(self, spec: StripSplit, unet: nn.Module, tile: int, edges: Edges | None = None):
        self._spec = spec
        self._tile = tile
        self._unet: Any = sharing_copy(unet)
        self._edges = edges
        self._neighbours = AskingNeighbours(spec, routes_of(unet, spec), tile, edges)
        replace_forwards(self._unet, spec, self._neighbours)
        self._step: Suspended[Meeting, Meeting, Tensor] | None = None
        self._text: dict[str, Tensor | None] = {}

    def go_on(self, answer: Meeting) -> Message:
        """Goes on with a step.

        Raises:
            WireError: an answer that is not due, or does not fit.
        """
        if self._step is None or self._step.is_done or not self._neighbours.expects(answer):
            raise WireError("an answer came that this cloud does not wait for: client and cloud are out of step")
        return self._reply(self._step.resume(answer))

    def _reply(self, found: Meeting | Tensor) -> Message:
        if isinstance(found, Meeting):
            return found
        return TilePrediction(
            step=self._neighbours.step,
            lane=self._neighbours.lane,
            between_bytes=self._edges.take_sent_bytes() if self._edges else 0,
            prediction=found.float(),
        )

    def begin(self, request: Begin) -> Message:
        """Starts a step.

        Raises:
            WireError: tensors that do not fit this model, tile or spec.
        """
        config = self._unet.config
        tiling = _tiling(request, self._spec, config)
        dtype = next(self._unet.parameters()).dtype
        # Before the halos, whose making takes memory in proportion to the size that was named.
        shape = (None, config.in_channels, *tiling.needed(0)[self._tile].shape)
        require(request.latent, shape, torch.float32)
        halo = tiling.halos(0, "conv")[self._tile]
        if not 1 <= request.repeats <= 2:
            raise WireError(f"a latent cannot be repeated {request.repeats} times")
        rows = request.repeats * len(request.latent)
        self._tell(request, rows, dtype)
        self._neighbours.begin(request, tiling, rows, dtype)
        latent = torch.cat([request.latent.to(dtype)] * request.repeats)
        conv_in = self._unet.conv_in
        conv_in.forward = partial(_first, conv_in, latent, halo)
        own = latent[(..., *halo.own.within(halo.needed))]
        added = {"text_embeds": self._text["pooled"], "time_ids": self._text["time_ids"]}
        run = partial(
            _predict,
            self._unet,
            self._neighbours,
            own,
            request.timestep,
            self._text["prompt_embeds"],
            None if added["time_ids"] is None else added,
        )
        self._step = Suspended(run)
        return self._reply(self._step.start())

    def _tell(self, request: Begin, rows: int, dtype: torch.dtype) -> None:
        """Keeps what the text says, and checks that it is what this model and spec need."""
        config = self._unet.config
        told = {name: getattr(request, name) for name in ("prompt_embeds", "pooled", "time_ids")}
        if any(t is not None for t in told.values()) or not self._text:
            wanted: dict[str, tuple[int | None, ...] | None] = dict.fromkeys(told)
            if self._spec.cross_attention == "cloud":
                wanted["prompt_embeds"] = (rows, None, config.cross_attention_dim)
            if config.addition_embed_type == "text_time":
                num_ids = 6
                width = config.projection_class_embeddings_input_dim - num_ids * config.addition_time_embed_dim
                wanted |= {"pooled": (rows, width), "time_ids": (rows, num_ids)}
            for name, shape in wanted.items():
                require_optional(told[name], shape)
            self._text = {name: None if t is None else t.to(dtype) for name, t in told.items()}
        elif any(t is not None and len(t) != rows for t in self._text.values()):
            raise WireError("the text that was told before is for another number of pictures")


@no_type_check
def _predict(unet, neighbours, own, timestep, text, added, ask):
    neighbours.ask = ask
    return unet(own, timestep, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False)[0]


def _first(conv: nn.Conv2d, latent: Tensor, halo: Halo, _: Tensor) -> Tensor:
    return convolve_tile(conv, latent, halo)


def _tiling(request: Begin, spec: StripSplit, config: Any) -> Tiling:
    try:
        return tiling_of(
            spec.num_tiles, spec.num_columns, request.height, request.width, len(config.block_out_channels)
        )
    except ValueError as error:
        raise WireError(f"a latent of {request.height} x {request.width} cannot be cut so: {error}") from error
