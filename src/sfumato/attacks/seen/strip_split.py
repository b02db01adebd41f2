"""What a transcript of ``strip-split`` tells: the latent on a cloud's tile, and every map inside on it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from sfumato.attacks.seen.base import Half, Reader, SeenMap, SeenText, Window
from sfumato.attacks.seen.entries import messages, present
from sfumato.attacks.seen.tile_notes import map_window
from sfumato.attacks.seen.tile_replay import TileReplay
from sfumato.attacks.view import RunView
from sfumato.models.layers import layers_of
from sfumato.models.loading import load_unet, meta_unet
from sfumato.protocols.strip_split.graph import route_of
from sfumato.protocols.strip_split.spec import Attended, Begin, Meeting, StripSplit, Surroundings, TilePrediction
from sfumato.protocols.strip_split.tiling import Tiling, tiling_of
from sfumato.wire.transcript import Entry, Transcript

_BEGIN = Begin.__name__
_PREDICTION = TilePrediction.__name__
_ANSWERS: dict[str, type[Meeting]] = {kind.__name__: kind for kind in (Surroundings, Attended)}


class _Key(NamedTuple):
    """Sorts maps: step by step, and those that have the prompt's rows first."""

    step: int
    is_negative: bool
    tile: int


class StripSplitReader(Reader):
    """Tiles with the line of cells around them that clouds are sent for the next layer.

    With ``cfg_clouds=separate`` a cloud has one guidance half; where a coalition has both of a tile, they are joined.
    """

    protocol: ClassVar[str] = StripSplit.name

    def latents(self, view: RunView) -> list[SeenMap]:
        """The tile with the line of cells around it."""
        found: dict[_Key, SeenMap] = {}
        for cloud, transcript in zip(view.clouds, view.transcripts, strict=True):
            tile = cloud % _spec(view).num_tiles
            for entry in messages(transcript, _BEGIN):
                if entry.values["lane"] == 0:
                    tiling = _tiling(view, entry)
                    window = map_window(tiling.needed(0)[tile], tiling.size(0))
                    key = _Key(entry.values["step"], False, tile)
                    found[key] = _map(entry, window, present(entry.tensors["latent"]))
        return [found[key] for key in sorted(found)]

    def predictions(self, view: RunView) -> list[SeenMap]:
        """Of the tile, as the cloud made them."""

        def of(cloud: int, transcript: Transcript) -> dict[tuple[int, int], SeenMap]:
            tile = cloud % _spec(view).num_tiles
            begun = {(e.values["step"], e.values["lane"]): e for e in messages(transcript, _BEGIN)}
            made = {}
            for entry in messages(transcript, _PREDICTION):
                key = entry.values["step"], entry.values["lane"]
                tiling = _tiling(view, begun[key])
                window = map_window(tiling.tiles(0)[tile], tiling.size(0))
                made[key] = _map(begun[key], window, present(entry.tensors["prediction"]))
            return made

        return self._joined(view, [of(*each) for each in zip(view.clouds, view.transcripts, strict=True)])

    def text(self, view: RunView) -> SeenText:
        """The text embedding, with ``cross_attention=cloud``."""
        found: dict[Half, Tensor] = {}
        for cloud, transcript in zip(view.clouds, view.transcripts, strict=True):
            told = [e.tensors["prompt_embeds"] for e in messages(transcript, _BEGIN)]
            rows = [tensor.float() for tensor in told if tensor is not None]
            if rows:
                # A lane each, or one for both halves; told once.
                found.setdefault(_half(view, cloud), torch.cat(rows[: _spec(view).num_lanes]))
        if Half.NEGATIVE in found and Half.PROMPT in found:
            found = {Half.BOTH: torch.cat([found[Half.NEGATIVE], found[Half.PROMPT]])}
        if not found:
            raise self._lacks(view, "the text")
        half, embeds = next(iter(found.items()))
        return SeenText(embeds=embeds, projections={}, half=half)

    def features(self, view: RunView, path: str) -> list[SeenMap]:
        """The input of a layer that runs on the tile, made again with the public U-Net and the answers received."""
        unet = load_unet(view.model)

        def of(cloud: int, transcript: Transcript) -> dict[tuple[int, int], SeenMap]:
            spec = _spec(view)
            made = {}
            for lane in range(spec.num_lanes):
                replay = TileReplay(spec, unet, cloud % spec.num_tiles, path)
                for begin, answers in _steps(transcript, lane):
                    held = replay.step(_message(Begin, begin), [_message(_ANSWERS[a.kind], a) for a in answers])
                    if held is not None:
                        made[begin.values["step"], lane] = _map(begin, held.window, held.values)
            return made

        return self._joined(view, [of(*each) for each in zip(view.clouds, view.transcripts, strict=True)])

    def feature_paths(self, view: RunView) -> list[str]:
        """Convolutions and group norms, and the layer norms where what attention gave was added."""
        unet, spec = meta_unet(view.model), _spec(view)
        maps = [path for path, kind, _ in layers_of(unet) if kind in ("conv", "pointwise_conv", "norm")]
        blocks = {place.path for place in route_of(unet, spec).all if place.kind in ("block", "self_attention")}
        return maps + [f"{path.removesuffix('.attn1')}.norm3" for path in sorted(blocks)]

    def keeps(self, what: str, kind: str, values: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Features take all that the cloud was sent."""
        wanted: dict[str, tuple[str, ...]] = {
            "latents": (_BEGIN,),
            "text": (_BEGIN,),
            "predictions": (_BEGIN, _PREDICTION),
            "prompts": (),
        }
        return kind in wanted.get(what, (_BEGIN, *_ANSWERS))

    def _joined(self, view: RunView, found: Sequence[dict[tuple[int, int], SeenMap]]) -> list[SeenMap]:
        """Joins guidance halves that came in two lanes or from two clouds; ``found`` is by step and lane."""
        spec, parts = _spec(view), defaultdict[tuple[int, int], dict[int, SeenMap]](dict)
        for cloud, maps in zip(view.clouds, found, strict=True):
            for (step, lane), each in maps.items():
                number = lane if spec.num_halves == 1 else cloud // spec.num_tiles
                parts[step, cloud % spec.num_tiles][number] = each
        made: dict[_Key, SeenMap] = {}
        for (step, tile), halves in parts.items():
            is_whole = len(halves) == spec.num_halves * spec.num_lanes
            first, *rest = (halves[number] for number in sorted(halves))
            half = Half.BOTH if is_whole else (Half.PROMPT if 1 in halves else Half.NEGATIVE)
            values = torch.cat([first.values, *(each.values for each in rest)])
            made[_Key(step, half is Half.NEGATIVE, tile)] = replace(first, values=values, half=half)
        return [made[key] for key in sorted(made)]


def _spec(view: RunView) -> StripSplit:
    assert isinstance(view.spec, StripSplit), "a reader is found by its protocol"
    return view.spec


def _half(view: RunView, cloud: int) -> Half:
    spec = _spec(view)
    if spec.num_halves == 1:
        return Half.BOTH
    return Half.PROMPT if cloud >= spec.num_tiles else Half.NEGATIVE


def _tiling(view: RunView, begin: Entry) -> Tiling:
    spec, levels = _spec(view), len(view.model.config("unet")["block_out_channels"])
    return tiling_of(spec.num_tiles, spec.num_columns, begin.values["height"], begin.values["width"], levels)


def _map(begin: Entry, window: Window, values: Tensor) -> SeenMap:
    return SeenMap(
        step=begin.values["step"], timestep=float(begin.values["timestep"]), window=window, values=values.float()
    )


def _steps(transcript: Transcript, lane: int) -> list[tuple[Entry, list[Entry]]]:
    """Each step's beginning and the answers after it."""
    found: list[tuple[Entry, list[Entry]]] = []
    for entry in messages(transcript, _BEGIN, *_ANSWERS):
        if entry.values["lane"] != lane:
            continue
        if entry.kind == _BEGIN:
            found.append((entry, []))
        elif found:
            found[-1][1].append(entry)
    return found


def _message(kind: type[Any], entry: Entry) -> Any:
    if entry.kind == _BEGIN:
        present(entry.tensors["latent"])
    else:
        present(entry.tensors["values"])
    return kind(**entry.values, **entry.tensors)
