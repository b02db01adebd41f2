"""The worker half of ``strip-split``: the whole U-Net on one tile, suspended wherever tiles meet."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, no_type_check

import torch
from torch import Tensor, nn

from sfumato.errors import WireError
from sfumato.models.layers import sharing_copy
from sfumato.protocols.base import WorkerHalf
from sfumato.protocols.group_norm import group_statistics
from sfumato.protocols.strip_split.graph import places, require_splittable
from sfumato.protocols.strip_split.layers import Around, Neighbours, Reply, convolve_tile, replace_forwards
from sfumato.protocols.strip_split.packing import Packed, pack, packed_shapes, unpack, wire_dtype
from sfumato.protocols.strip_split.spec import (
    HALO_GROUP,
    TOKEN_GROUP,
    Attended,
    Begin,
    Border,
    Hidden,
    Meeting,
    StripSplit,
    Surroundings,
    TilePrediction,
)
from sfumato.protocols.strip_split.suspended import Suspended
from sfumato.protocols.strip_split.tiling import Halo, Tiling
from sfumato.wire.messages import Message


class StripSplitWorker(WorkerHalf):
    """Runs one denoising step after another on its tile; between two requests the U-Net is suspended.

    Run by: worker.
    Reveals: to the client, its own tile of the maps where tiles meet, and of the prediction.
    """

    kinds: ClassVar[tuple[type[Message], ...]] = (Begin, Surroundings, Attended)

    def __init__(self, spec: StripSplit, unet: nn.Module, cloud_index: int):
        require_splittable(unet)
        self._spec = spec
        self._tile = cloud_index % spec.num_tiles
        # Other sessions compute with the same U-Net: the forwards are replaced in a copy that shares its weights.
        self._unet: Any = sharing_copy(unet)
        self._places = places(unet, spec)
        self._neighbours = _Neighbours(spec, self._tile)
        levels = {place.path: place.level for place in self._places}
        replace_forwards(self._unet, spec, self._neighbours, levels)
        self._step: Suspended[Meeting, Meeting, Tensor] | None = None
        self._waits_for: type[Message] | None = None
        self._text: dict[str, Tensor | None] = {}

    @torch.no_grad()
    def handle(self, request: Message) -> Message:
        """Starts a step, or goes on with one."""
        if isinstance(request, Begin):
            return self._begin(request)
        if not isinstance(request, Surroundings | Attended):
            raise WireError(f"strip-split does not answer {type(request).__name__}")
        if self._step is None or self._step.is_done or not self._neighbours.expects(request):
            raise WireError("an answer came that this cloud does not wait for: client and cloud are out of step")
        return self._reply(self._step.resume(request))

    def _reply(self, found: Meeting | Tensor) -> Message:
        if isinstance(found, Meeting):
            return found
        return TilePrediction(step=self._neighbours.step, prediction=found.to(_latent_dtype(self._spec)))

    def _begin(self, request: Begin) -> Message:
        config = self._unet.config
        tiling = _tiling(request, self._spec, config)
        dtype = next(self._unet.parameters()).dtype
        # Before the halos, whose making takes memory in proportion to the size that was named.
        shape = (None, config.in_channels, *tiling.needed(0, "conv")[self._tile].shape)
        _require(request.latent, shape, _latent_dtype(self._spec))
        halo = tiling.halos(0, "conv")[self._tile]
        if not 1 <= request.repeats <= 2:
            raise WireError(f"a latent cannot be repeated {request.repeats} times")
        rows = request.repeats * len(request.latent)
        self._tell(request, rows, dtype)
        self._neighbours.begin(request.step, tiling, rows, dtype)
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
                _require_optional(told[name], shape)
            self._text = {name: None if t is None else t.to(dtype) for name, t in told.items()}
        elif any(t is not None and len(t) != rows for t in self._text.values()):
            raise WireError("the text that was told before is for another number of pictures")


@no_type_check
def _predict(unet, neighbours, own, timestep, text, added, ask):
    neighbours.ask = ask
    return unet(own, timestep, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False)[0]


def _first(conv: nn.Conv2d, latent: Tensor, halo: Halo, _: Tensor) -> Tensor:
    return convolve_tile(conv, latent, halo)


class _Neighbours(Neighbours):
    """Asks the client, one meeting after another."""

    ask: Callable[[Meeting], Meeting]
    step: int

    def __init__(self, spec: StripSplit, tile: int):
        self._spec = spec
        self._tile = tile

    def begin(self, step: int, tiling: Tiling, rows: int, dtype: torch.dtype) -> None:
        """Starts a step."""
        self.step, self._tiling, self._rows, self._dtype = step, tiling, rows, dtype
        self._round = 0
        self._asked: Meeting | None = None

    def expects(self, answer: Meeting) -> bool:
        """Whether an answer is the one that is due."""
        asked = self._asked
        kind = Surroundings if isinstance(asked, Border) else Attended
        return (
            asked is not None
            and isinstance(answer, kind)
            and (answer.step, answer.round, answer.path) == (asked.step, asked.round, asked.path)
        )

    @no_type_check
    def surroundings(self, path, level, reach, own, norm):
        halo = self._tiling.halos(level, reach)[self._tile]
        given = own.flatten(2).index_select(2, halo.given)
        shape = (*own.shape[:2], len(halo.ring))
        cells, statistics = self._meet(Border, path, own, given, norm, shape, HALO_GROUP)
        return Around(_surrounded(own, cells, halo), halo, statistics)

    @no_type_check
    def whole_statistics(self, path, own, norm):
        nothing = own.new_empty(*own.shape[:2], 0)
        return self._meet(Border, path, own, nothing, norm, tuple(nothing.shape), HALO_GROUP)[1]

    @no_type_check
    def attended(self, path, own, norm, width):
        shape = (len(own), width, own.shape[2] * own.shape[3])
        cells, statistics = self._meet(Hidden, path, own, own.flatten(2), norm, shape, TOKEN_GROUP)
        return Reply(cells.unflatten(2, own.shape[2:]), statistics)

    @no_type_check
    def _meet(self, kind, path, own, cells, norm, shape, group):
        packed = pack(cells, self._spec.wire, group)
        self._asked = kind(
            step=self.step,
            round=self._round,
            path=path,
            statistics=None if norm is None else torch.stack(group_statistics(own, norm.num_groups)),
            values=packed.values,
            scales=packed.scales,
        )
        answer = self.ask(self._asked)
        self._round += 1
        return self._read(answer, None if norm is None else (2, len(own), norm.num_groups), shape, group)

    def _read(
        self, answer: Meeting, statistics: tuple[int, ...] | None, shape: tuple[int, int, int], group: int
    ) -> tuple[Tensor, Tensor | None]:
        values, scales = packed_shapes(shape, self._spec.wire, group)
        _require(answer.values, values, wire_dtype(self._spec.wire))
        _require_optional(answer.scales, scales, torch.float16)
        _require_optional(answer.statistics, statistics)
        return unpack(Packed(answer.values, answer.scales), self._dtype), answer.statistics


def _surrounded(own: Tensor, ring: Tensor, halo: Halo) -> Tensor:
    cells = own.new_empty(*own.shape[:2], halo.needed.shape[0] * halo.needed.shape[1])
    cells.index_copy_(2, halo.ring.to(own.device), ring)
    cells = cells.unflatten(2, halo.needed.shape)
    cells[(..., *halo.own.within(halo.needed))] = own
    return cells


def _tiling(request: Begin, spec: StripSplit, config: Any) -> Tiling:
    try:
        rows = spec.num_tiles // spec.num_columns
        return Tiling(request.height, request.width, rows, spec.num_columns, len(config.block_out_channels))
    except ValueError as error:
        raise WireError(f"a latent of {request.height} x {request.width} cannot be cut so: {error}") from error


def _latent_dtype(spec: StripSplit) -> torch.dtype:
    return torch.float32 if spec.wire == "fp32" else torch.float16


def _require(tensor: Tensor, shape: tuple[int | None, ...], dtype: torch.dtype | None = None) -> None:
    fits = tensor.ndim == len(shape) and all(
        g > 0 if w is None else g == w for w, g in zip(shape, tensor.shape, strict=True)
    )
    if not fits or (tensor.dtype != dtype if dtype else not tensor.is_floating_point()):
        raise WireError(f"a tensor of shape {tuple(tensor.shape)} and format {tensor.dtype} does not fit where it came")


def _require_optional(
    tensor: Tensor | None, shape: tuple[int | None, ...] | None, dtype: torch.dtype | None = None
) -> None:
    if (tensor is None) != (shape is None):
        raise WireError("a tensor came where none was due, or one that was due did not come")
    if tensor is not None and shape is not None:
        _require(tensor, shape, dtype)
