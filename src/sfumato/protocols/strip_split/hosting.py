"""The client's side of a step: what it does wherever the tiles meet."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sfumato.errors import WireError
from sfumato.models.denoiser import Conditioning
from sfumato.protocols.group_norm import merge_exact
from sfumato.protocols.replies import checked
from sfumato.protocols.strip_split.attending import Attention
from sfumato.protocols.strip_split.graph import Place
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
from sfumato.protocols.strip_split.tiling import Tiling
from sfumato.tensors import GuidedPrediction, Latent
from sfumato.transport.base import Channel


class Member(NamedTuple):
    """One cloud's part: which rows of the batch, and which tile."""

    rows: slice
    tile: int
    repeats: int


def crew_of(spec: StripSplit, num_latents: int, num_rows: int) -> list[Member]:
    """Every cloud's part of a step.

    Args:
        spec: how many tiles and halves.
        num_latents: rows of the latent.
        num_rows: of the U-Net's batch: twice as many under guidance.

    Raises:
        ValueError: the guidance halves should go to different clouds, and there are none.
    """
    repeats = num_rows // num_latents
    if spec.num_halves == 1:
        return [Member(slice(0, num_rows), tile, repeats) for tile in range(spec.num_tiles)]
    if repeats != 2:
        raise ValueError("cfg_clouds=separate needs a guidance_scale above 1: without guidance there are no halves")
    halves = (slice(0, num_latents), slice(num_latents, num_rows))
    return [Member(half, tile, 1) for half in halves for tile in range(spec.num_tiles)]


class Host:
    """One step: the client's side of every meeting."""

    def __init__(
        self,
        spec: StripSplit,
        channel: Channel,
        tiling: Tiling,
        crew: list[Member],
        attention: Attention,
        step: int,
        dtype: torch.dtype,
    ):
        self._spec = spec
        self._channel = channel
        self._tiling = tiling
        self._crew = crew
        self._attention = attention
        self._step = step
        self._dtype = dtype
        self._num_rows = max(m.rows.stop for m in crew)

    def begin(self, latent: Latent, timestep: float, told: Conditioning | None, unet: nn.Module) -> list[Begin]:
        """The first message to every cloud; ``told`` is what it has not been told yet."""
        config: Any = unet.config
        halos = self._tiling.halos(0, "conv")
        sent = latent.to(torch.float32 if self._spec.wire == "fp32" else torch.float16)
        wants_text = told is not None and self._spec.cross_attention == "cloud"
        wants_added = told is not None and config.addition_embed_type == "text_time"
        return [
            Begin(
                step=self._step,
                timestep=timestep,
                height=self._tiling.height,
                width=self._tiling.width,
                repeats=m.repeats,
                latent=sent[(..., *halos[m.tile].needed.slices)],
                prompt_embeds=told.prompt_embeds[m.rows] if told and wants_text else None,
                pooled=told.pooled[m.rows] if told and wants_added and told.pooled is not None else None,
                time_ids=told.time_ids[m.rows] if told and wants_added and told.time_ids is not None else None,
            )
            for m in self._crew
        ]

    def serve(self, begin: Sequence[Begin], route: list[Place], unet: nn.Module) -> GuidedPrediction:
        """Leads every cloud through all places, and puts the prediction together."""
        requests: Sequence[Any] = begin
        for number, place in enumerate(route):
            kind = Border if place.kind in ("border", "norm") else Hidden
            found: list[Meeting] = self._channel.exchange(requests, kind)
            self._require_in_step(found, number, place)
            requests = self._answer(place, number, found, unet)
        replies = self._channel.exchange(requests, TilePrediction)
        return self._whole_prediction(replies, unet)

    def _require_in_step(self, found: Sequence[Meeting], number: int, place: Place) -> None:
        for cloud, meeting in zip(self._channel.traffic.clouds, found, strict=True):
            if (meeting.step, meeting.round, meeting.path) != (self._step, number, place.path):
                raise WireError(
                    f"{cloud} stopped in round {meeting.round} of step {meeting.step} where round {number} of step "
                    f"{self._step} was due, at {place.path}: it runs other code or another model"
                )
            for what, tensor, is_due in (
                ("statistics", meeting.statistics, place.has_statistics),
                ("scales", meeting.scales, self._spec.wire == "int8"),
            ):
                if (tensor is not None) != is_due:
                    raise WireError(
                        f"{cloud} came to {place.path} {'without' if is_due else 'with'} {what}: "
                        "it runs other code or another model"
                    )

    def _answer(self, place: Place, number: int, found: Sequence[Meeting], unet: Any) -> Sequence[Meeting]:
        statistics = self._merged(place, found, unet) if place.has_statistics else None
        if place.kind in ("border", "norm"):
            cells = self._surroundings(place, found, unet)
            kind: type[Meeting] = Surroundings
        else:
            cells = self._attended(place, found, statistics, unet)
            kind = Attended
        group = HALO_GROUP if kind is Surroundings else TOKEN_GROUP
        answers = []
        for m, own in zip(self._crew, cells, strict=True):
            packed = pack(own, self._spec.wire, group)
            answers.append(
                kind(
                    step=self._step,
                    round=number,
                    path=place.path,
                    statistics=None if statistics is None else torch.stack(statistics)[:, m.rows].float(),
                    values=packed.values,
                    scales=packed.scales,
                )
            )
        return answers

    def _merged(self, place: Place, found: Sequence[Meeting], unet: Any) -> tuple[Tensor, Tensor]:
        """Statistics of the whole map from those of its tiles, for all rows, in fp64."""
        num_groups = _norm_of(place, unet).num_groups
        given = [m.statistics for m in found if m.statistics is not None]
        shapes = [(2, m.rows.stop - m.rows.start, num_groups) for m in self._crew]
        parts = checked(self._channel, given, shapes, torch.float32, place.path)
        sizes = [float(t.shape[0] * t.shape[1]) for t in self._tiling.tiles(place.level)]
        halves = []
        for start in range(0, len(parts), self._spec.num_tiles):
            half = torch.stack(parts[start : start + self._spec.num_tiles])
            counts = torch.tensor(sizes, device=half.device)
            halves.append(merge_exact(half[:, 0], half[:, 1].clamp_min(0), counts))
        return torch.cat([h[0] for h in halves]), torch.cat([h[1] for h in halves])

    def _surroundings(self, place: Place, found: Sequence[Meeting], unet: Any) -> Iterator[Tensor]:
        """Passes the border cells on to the tiles that need them."""
        if place.kind == "norm":
            return iter(self._cells(place, found, [0] * len(found), _norm_of(place, unet).num_channels, HALO_GROUP))
        halos = self._tiling.halos(place.level, place.reach)
        channels = _channels(place, unet)
        mine = [halos[m.tile] for m in self._crew]
        cells = self._cells(place, found, [len(h.given) for h in mine], channels, HALO_GROUP)
        height, width = self._tiling.size(place.level)
        whole = cells[0].new_empty(self._num_rows, channels, height * width)
        for m, halo, own in zip(self._crew, mine, cells, strict=True):
            whole[m.rows].index_copy_(2, halo.given_in_map.to(own.device), own)
        return (
            whole[m.rows].index_select(2, h.ring_in_map.to(whole.device)) for m, h in zip(self._crew, mine, strict=True)
        )

    def _attended(
        self, place: Place, found: Sequence[Meeting], statistics: tuple[Tensor, Tensor] | None, unet: Any
    ) -> Iterator[Tensor]:
        """Puts the whole map together, attends, and cuts it again."""
        tiles = self._tiling.tiles(place.level)
        mine = [tiles[m.tile] for m in self._crew]
        channels = _hidden_channels(place, self._spec, unet)
        cells = self._cells(place, found, [t.shape[0] * t.shape[1] for t in mine], channels, TOKEN_GROUP)
        whole = cells[0].new_empty(self._num_rows, channels, *self._tiling.size(place.level))
        for m, tile, own in zip(self._crew, mine, cells, strict=True):
            whole[(m.rows, slice(None), *tile.slices)] = own.unflatten(2, tile.shape)
        if place.kind == "block":
            result = self._attention.block(place.path, whole, statistics)
        else:
            result = self._attention.gathered(place.path, whole)
        return (result[(m.rows, slice(None), *t.slices)].flatten(2) for m, t in zip(self._crew, mine, strict=True))

    def _cells(
        self, place: Place, found: Sequence[Meeting], sizes: Sequence[int], channels: int, group: int
    ) -> list[Tensor]:
        """The cells that came, checked and unpacked."""
        shapes = [
            packed_shapes((m.rows.stop - m.rows.start, channels, size), self._spec.wire, group)
            for m, size in zip(self._crew, sizes, strict=True)
        ]
        values = [m.values for m in found]
        values = checked(self._channel, values, [s[0] for s in shapes], wire_dtype(self._spec.wire), place.path)
        scales = [m.scales for m in found if m.scales is not None]
        if scales:
            checked(self._channel, scales, [s[1] for s in shapes if s[1]], torch.float16, place.path)
        return [unpack(Packed(v, m.scales), self._dtype) for v, m in zip(values, found, strict=True)]

    def _whole_prediction(self, replies: Sequence[TilePrediction], unet: Any) -> GuidedPrediction:
        tiles = self._tiling.tiles(0)
        channels = unet.config.out_channels
        dtype = torch.float32 if self._spec.wire == "fp32" else torch.float16
        shapes = [(m.rows.stop - m.rows.start, channels, *tiles[m.tile].shape) for m in self._crew]
        parts = checked(self._channel, [r.prediction for r in replies], shapes, dtype, "a prediction")
        whole = parts[0].new_empty(self._num_rows, channels, *self._tiling.size(0), dtype=self._dtype)
        for m, part in zip(self._crew, parts, strict=True):
            whole[(m.rows, slice(None), *tiles[m.tile].slices)] = part.to(self._dtype)
        return whole


def _norm_of(place: Place, unet: Any) -> nn.GroupNorm:
    """The group norm before a place."""
    if place.path == "conv_out":
        return unet.conv_norm_out
    if place.kind == "norm":
        return unet.get_submodule(place.path)
    if place.kind == "block":
        return unet.get_submodule(place.path.rsplit(".", 2)[0]).norm
    parent, _, conv = place.path.rpartition(".")
    return unet.get_submodule(f"{parent}.norm{conv[-1]}")


def _channels(place: Place, unet: Any) -> int:
    """Channels of a map whose borders meet."""
    layer = unet.get_submodule(place.path)
    return int(getattr(layer, "channels", 0) or layer.in_channels)


def _hidden_channels(place: Place, spec: StripSplit, unet: Any) -> int:
    """Channels of a tile on the way into attention."""
    layer = unet.get_submodule(place.path)
    if place.kind == "block":
        transformer = unet.get_submodule(place.path.rsplit(".", 2)[0])
        return int(transformer.norm.num_channels if place.has_statistics else layer.attn1.query_dim)
    if spec.attention == "qkv":
        return int(layer.inner_dim * (3 if place.kind == "self_attention" else 1))
    return int(layer.query_dim)
