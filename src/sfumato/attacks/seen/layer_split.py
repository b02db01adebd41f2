"""What a transcript of ``layer-split`` tells: the input rows of every layer that was offloaded."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato.attacks.seen.base import Reader, SeenMap, SeenText
from sfumato.attacks.seen.entries import messages, present, timesteps
from sfumato.attacks.seen.strip_layout import MAPS, StripLayout, layout_of
from sfumato.attacks.view import RunView
from sfumato.models.loading import load_unet
from sfumato.protocols.layer_split.spec import (
    CrossAttentionStrip,
    LayerSplit,
    SelfAttentionStrip,
)
from sfumato.wire.transcript import Entry

_SELF = SelfAttentionStrip.__name__
_CROSS = CrossAttentionStrip.__name__


class LayerSplitReader(Reader):
    """Strips with the border rows that the layer's kernel reads, which each cloud is sent with them.

    Clouds are told neither size nor step: the height follows from the rows that they see, and is the width where
    several heights would do; the number of a layer's request is its step.
    """

    protocol: ClassVar[str] = LayerSplit.name

    def latents(self, view: RunView) -> list[SeenMap]:
        """The input rows of the first convolution, which has one of the equal guidance halves twice."""
        found = self.features(view, "conv_in")
        num = _num_pictures(view, found[0].values)
        return [SeenMap(step=e.step, timestep=e.timestep, window=e.window, values=e.values[:num]) for e in found]

    @torch.no_grad()
    def predictions(self, view: RunView) -> list[SeenMap]:
        """The last convolution's strip, made again by the public weights from its input rows."""
        layout = layout_of(view)
        unet: Any = load_unet(view.model, lambda _: lambda parameter: parameter.startswith("conv_out."))
        conv, found = unet.conv_out, []
        for cloud, step, time, entry in self._requests(view, "conv_out"):
            top, bottom = entry.values["pad_top"], entry.values["pad_bottom"]
            rows = torch.nn.functional.pad(present(entry.tensors["rows"]).float(), (0, 0, top, bottom))
            made = torch.nn.functional.conv2d(rows, conv.weight, conv.bias, conv.stride, (0, conv.padding[1]))
            found.append(SeenMap(step=step, timestep=time, window=layout.strip(cloud), values=made))
        return found

    def text(self, view: RunView) -> SeenText:
        """K and V of every cross-attention layer."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for entry in view.entries(_CROSS):
            path = entry.values["path"]
            if path not in found:
                found[path] = present(entry.tensors["key"]).float(), present(entry.tensors["value"]).float()
        if not found:
            raise self._lacks(view, "K and V of the text")
        return SeenText(embeds=None, projections=found)

    def features(self, view: RunView, path: str) -> list[SeenMap]:
        """A layer's input rows; of a self-attention layer that was offloaded, the whole map from its K and V."""
        layout = layout_of(view)
        if path in _paths(view, _SELF):
            return self._attended(view, path, layout)
        return [
            SeenMap(
                step=step, timestep=time, window=layout.input_of(path, cloud), values=present(e.tensors["rows"]).float()
            )
            for cloud, step, time, e in self._requests(view, path)
        ]

    def feature_paths(self, view: RunView) -> list[str]:
        """Convolutions, group norms and self-attention layers that were offloaded."""
        return _paths(view, *MAPS, _SELF)

    def keeps(self, what: str, kind: str, values: Mapping[str, Any]) -> bool:
        """One layer's requests."""
        if what == "text":
            return kind == _CROSS
        path = {"latents": "conv_in", "predictions": "conv_out"}.get(what, what)
        return kind in (*MAPS, _SELF) and values["path"] == path

    def _requests(self, view: RunView, path: str) -> Iterator[tuple[int, int, float, Entry]]:
        """Cloud, step, timestep and request, step by step."""
        found = [[e for e in messages(t, *MAPS, _SELF) if e.values["path"] == path] for t in view.transcripts]
        num_calls = len(found[0])
        if not num_calls:
            raise self._lacks(view, f"the input of {path}")
        for step, time in enumerate(timesteps(view, num_calls)):
            for cloud, entries in zip(view.clouds, found, strict=True):
                if step < len(entries):
                    yield cloud, step, time, entries[step]

    @torch.no_grad()
    def _attended(self, view: RunView, path: str, layout: StripLayout) -> list[SeenMap]:
        """The whole input of a self-attention layer: K and V are its images under public projections."""
        unet: Any = load_unet(view.model, lambda _: lambda parameter: parameter.startswith(f"{path}.to_"))
        attn = unet.get_submodule(path)
        back = torch.linalg.pinv(torch.cat([attn.to_k.weight, attn.to_v.weight]).double())
        window = layout.whole_of(path)
        found: list[SeenMap] = []
        for _, step, time, entry in self._requests(view, path):
            if found and found[-1].step == step:
                continue
            told = torch.cat([present(entry.tensors[name]) for name in ("key", "value")], dim=-1)
            tokens = (told.double() @ back.mT).float()
            values = tokens.transpose(1, 2).unflatten(2, (window.height, window.width))
            found.append(SeenMap(step=step, timestep=time, window=window, values=values))
        return found


def _paths(view: RunView, *kinds: str) -> list[str]:
    return list(dict.fromkeys(entry.values["path"] for entry in messages(view.transcripts[0], *kinds)))


def _num_pictures(view: RunView, rows: Tensor) -> int:
    """From the settings, or from rows that come twice."""
    if view.settings:
        return view.settings.num_pictures
    first, second = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    return len(first) if torch.equal(first, second) else len(rows)
