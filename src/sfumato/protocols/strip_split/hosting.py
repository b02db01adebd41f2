"""The client's side of a step: what it does wherever the tiles meet."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sfumato.errors import WireError
from sfumato.models.denoiser import Conditioning
from sfumato.protocols.replies import checked
from sfumato.protocols.strip_split.attending import Attention
from sfumato.protocols.strip_split.graph import Place
from sfumato.protocols.strip_split.lanes import Lane, Member, Walk
from sfumato.protocols.strip_split.merging import merged
from sfumato.protocols.strip_split.packing import Memory, Packed, in_a_row, pack, unpack
from sfumato.protocols.strip_split.shapes import asked_shapes, expected, format_at, group_at, is_centred
from sfumato.protocols.strip_split.spec import (
    Attended,
    Begin,
    Border,
    Hidden,
    Meeting,
    StripSplit,
    Surroundings,
    TilePrediction,
)
from sfumato.protocols.strip_split.stem import Met
from sfumato.protocols.strip_split.tiling import Tiling
from sfumato.tensors import FeatureMap, GuidedPrediction, Latent
from sfumato.transport.base import Channel
from sfumato.wire.messages import Message


class Host:
    """One step of one lane: the client's side of every meeting."""

    def __init__(
        self,
        spec: StripSplit,
        channel: Channel,
        tiling: Tiling,
        lane: Lane,
        attention: Attention,
        memory: Memory,
        step: int,
        dtype: torch.dtype,
    ):
        self._spec = spec
        self._channel = channel
        self._tiling = tiling
        self._lane = lane
        self._crew = lane.crew
        self._attention = attention
        self._memory = memory
        self._step = step
        self._dtype = dtype
        # The input of the transformer that the clouds are in; a sampler behind it may need a part.
        self._input: FeatureMap | None = None

    def begin(
        self, latent: Latent, timestep: float, told: Conditioning | None, first: Sequence[Met], unet: nn.Module
    ) -> list[Begin]:
        """The first message to every cloud.

        Args:
            latent: scaled.
            timestep: of the scheduler.
            told: what the clouds have not been told yet.
            first: what the client found at the first places, if it computes so far.
            unet: whose configuration to look at.
        """
        config: Any = unet.config
        needed = self._tiling.needed(0)
        sent = latent.float()
        wants_text = told is not None and self._spec.cross_attention == "cloud"
        wants_added = told is not None and config.addition_embed_type == "text_time"
        answers = [self._answers_of(met.of(self._lane.rows)) for met in first]
        statistics = [[s for a in answers if (s := a[i].statistics) is not None] for i, _ in enumerate(self._crew)]
        cells = [
            in_a_row([p for a in answers for p in (a[i].cells, a[i].around) if p is not None]) if first else None
            for i, _ in enumerate(self._crew)
        ]
        return [
            Begin(
                step=self._step,
                lane=self._lane.number,
                timestep=timestep,
                height=self._tiling.height,
                width=self._tiling.width,
                repeats=m.repeats,
                latent=sent[(..., *needed[m.tile].slices)],
                statistics=torch.cat([s.flatten() for s in mine]) if mine else None,
                values=told_cells.values if told_cells else None,
                scales=told_cells.scales if told_cells else None,
                prompt_embeds=self._told(told.prompt_embeds, m) if told and wants_text else None,
                pooled=self._told(told.pooled, m) if told and wants_added else None,
                time_ids=self._told(told.time_ids, m) if told and wants_added else None,
            )
            for m, mine, told_cells in zip(self._crew, statistics, cells, strict=True)
        ]

    def _told(self, text: Tensor | None, m: Member) -> Tensor | None:
        return None if text is None else text[self._lane.rows][m.rows]

    def walk(self, begin: Sequence[Begin], asked: Sequence[Place], unet: nn.Module) -> Walk:
        """Leads every cloud through the places where they ask, and puts the prediction together."""
        requests: Sequence[Message] = begin
        for number, place in enumerate(asked):
            kind = Border if place.kind in ("border", "norm") else Hidden
            found: Sequence[Meeting] = yield requests, kind
            self._require_in_step(found, number, place)
            requests = self._reply(place, number, found)
        replies: Sequence[TilePrediction] = yield requests, TilePrediction
        return self._whole_prediction(replies, unet)

    def _require_in_step(self, found: Sequence[Meeting], number: int, place: Place) -> None:
        for cloud, meeting in zip(self._channel.clouds, found, strict=True):
            where = (meeting.step, meeting.lane, meeting.round, meeting.path)
            if where != (self._step, self._lane.number, number, place.path):
                raise WireError(
                    f"{cloud} stopped in round {meeting.round} of step {meeting.step} where round {number} of step "
                    f"{self._step} was due, at {place.path}: it runs other code or another model"
                )
            for what, tensor, is_due in (
                ("statistics", meeting.statistics, place.num_groups > 0),
                ("scales", meeting.scales, self._spec.wire == "int8"),
            ):
                if (tensor is not None) != is_due:
                    raise WireError(
                        f"{cloud} came to {place.path} {'without' if is_due else 'with'} {what}: "
                        "it runs other code or another model"
                    )

    def _reply(self, place: Place, number: int, found: Sequence[Meeting]) -> list[Meeting]:
        statistics, cells = self._read(place, found)
        met = self._met(place, statistics, cells)
        kind = Surroundings if place.kind in ("border", "norm") else Attended
        out: list[Meeting] = []
        for answer in self._answers_of(met):
            values, scales, _ = answer.around or (None, None, None)
            extra = {"means": answer.cells.means, "around": values, "around_scales": scales}
            out.append(
                kind(
                    step=self._step,
                    lane=self._lane.number,
                    round=number,
                    path=place.path,
                    statistics=answer.statistics,
                    values=answer.cells.values,
                    scales=answer.cells.scales,
                    **(extra if kind is Attended else {}),
                )
            )
        return out

    def _read(self, place: Place, found: Sequence[Meeting]) -> tuple[list[Tensor], list[Tensor]]:
        """Every cloud's statistics and cells, checked and unpacked."""
        due = [expected(asked_shapes(place, self._tiling, m.tile, m.batch, self._spec)) for m in self._crew]
        read: dict[str, list[Tensor]] = {}
        for name in ("statistics", "values", "scales"):
            wanted = [w for d in due if (w := d[name])]
            given = [t for meeting in found if (t := getattr(meeting, name)) is not None]
            if wanted:
                read[name] = checked(self._channel, given, [s for s, _ in wanted], wanted[0][1], place.path)
        scales: Sequence[Tensor | None] = read.get("scales") or [None] * len(found)
        cells = [
            unpack(Packed(v, s), self._dtype, self._spec.wire) for v, s in zip(read["values"], scales, strict=True)
        ]
        return read.get("statistics", []), cells

    def _met(self, place: Place, parts: Sequence[Tensor], cells: Sequence[Tensor]) -> Met:
        """What all tiles together have at a place."""
        statistics = self._merged(place, parts) if place.num_groups else None
        if place.kind == "norm":
            return Met(place, cells[0].unsqueeze(3), statistics, None)
        whole = cells[0].new_empty(self._rows_at(place), cells[0].shape[1], *self._tiling.size(place.level))
        if place.kind == "border":
            halos, flat = self._tiling.halos(place.level, place.reach), whole.flatten(2)
            for m, own in zip(self._crew, cells, strict=True):
                flat[self._part(m, place)].index_copy_(2, halos[m.tile].given_in_map.to(own.device), own)
            return Met(place, whole, statistics, None)
        tiles = self._tiling.tiles(place.level)
        for m, own in zip(self._crew, cells, strict=True):
            whole[(self._part(m, place), slice(None), *tiles[m.tile].slices)] = own.unflatten(2, tiles[m.tile].shape)
        if place.kind == "block":
            return Met(place, whole, statistics, self._attention.block(place.path, whole, statistics, self._lane.rows))
        return Met(place, whole, statistics, self._attention.gathered(place.path, whole, self._lane.rows))

    def _merged(self, place: Place, parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Statistics of the whole map from those of its tiles, for all rows, in fp64."""
        starts = range(0, len(parts), self._spec.num_tiles)
        halves = [merged(parts[s : s + self._spec.num_tiles], self._tiling, place.level) for s in starts]
        return torch.cat([h[0] for h in halves]), torch.cat([h[1] for h in halves])

    def _answers_of(self, met: Met) -> list["_Answer"]:
        """Cuts what the whole map was answered into every cloud's part."""
        place = met.place
        if place.kind == "block" and place.num_groups:
            self._input = met.features
        return [self._answer_of(met, number, m) for number, m in enumerate(self._crew)]

    def _answer_of(self, met: Met, number: int, m: Member) -> "_Answer":
        place, group = met.place, group_at(met.place)
        statistics = None
        if met.statistics is not None:
            statistics = torch.stack(met.statistics)[:, m.rows_of(len(met.statistics[0]))].float()
        around = None
        if place.kind in ("border", "norm"):
            ring = self._tiling.halos(place.level, place.reach)[m.tile].ring_in_map if place.kind == "border" else None
            cells = _at(met.features, ring, m)
        else:
            assert met.result is not None
            own = self._tiling.tiles(place.level)[m.tile].slices
            cells = met.result[(m.rows_of(len(met.result)), slice(None), *own)].flatten(2)
            if place.ahead:
                ring = self._tiling.halos(place.level, place.ahead.reach)[m.tile].ring_in_map
                cells = torch.cat([cells, _at(met.result, ring, m)], dim=2)
                around = pack(self._around(met, ring, m), self._spec.wire, group)
        if self._spec.differences == "none" or not is_centred(place):
            packed = pack(cells, self._spec.wire, group, is_centred=is_centred(place))
            return _Answer(packed, around, statistics)
        key = (place.path, self._lane.number, number)
        packed = self._memory.pack(key, cells, format_at(place, self._spec, self._step), group)
        return _Answer(packed, around, statistics)

    def _around(self, met: Met, ring: Tensor, m: Member) -> Tensor:
        """The cells around a tile on their way into a transformer's last block."""
        if met.place.num_groups:
            return _at(met.features, ring, m)
        assert self._input is not None
        hidden, x = _at(met.features, ring, m), _at(self._input, ring, m)
        return torch.cat([torch.cat([x] * (len(hidden) // len(x))), hidden], dim=1)

    def _rows_at(self, place: Place) -> int:
        return self._lane.num_rows // self._crew[0].repeats if place.is_alike else self._lane.num_rows

    def _part(self, m: Member, place: Place) -> slice:
        return m.rows_of(self._rows_at(place))

    def _whole_prediction(self, replies: Sequence[TilePrediction], unet: Any) -> GuidedPrediction:
        tiles = self._tiling.tiles(0)
        channels = unet.config.out_channels
        shapes = [(m.rows.stop - m.rows.start, channels, *tiles[m.tile].shape) for m in self._crew]
        parts = checked(self._channel, [r.prediction for r in replies], shapes, torch.float32, "a prediction")
        if min(r.between_bytes for r in replies) < 0:
            raise WireError("a cloud says that it sent fewer than no bytes to other clouds")
        self._channel.count_between([r.between_bytes for r in replies])
        whole = parts[0].new_empty(self._lane.num_rows, channels, *self._tiling.size(0), dtype=self._dtype)
        for m, part in zip(self._crew, parts, strict=True):
            whole[(m.rows, slice(None), *tiles[m.tile].slices)] = part.to(self._dtype)
        return whole


class _Answer(NamedTuple):
    """One cloud's, as it travels."""

    cells: Packed
    around: Packed | None
    statistics: Tensor | None


def _at(features: FeatureMap, cells: Tensor | None, m: Member) -> Tensor:
    """A cloud's rows of a map at some cells; at none of them without ``cells``."""
    mine = features[m.rows_of(len(features))].flatten(2)
    return mine[:, :, :0] if cells is None else mine.index_select(2, cells.to(mine.device))
