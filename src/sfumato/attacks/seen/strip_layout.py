"""Where a cloud's strips lie in every map of a U-Net, found from what the cloud sees of a run of ``layer-split``."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sfumato.attacks.seen.base import Window
from sfumato.attacks.seen.entries import messages, present
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.models.counting import unet_layers
from sfumato.models.folder import ModelFolder
from sfumato.models.layers import Layer
from sfumato.models.loading import meta_unet
from sfumato.protocols.layer_split.spec import ConvStrip, NormStrip, PointwiseStrip
from sfumato.protocols.partition import Partition, Rows, window

MAPS = (ConvStrip.__name__, PointwiseStrip.__name__, NormStrip.__name__)
"""Messages that bring rows of a map."""

_MOST_BORDER = 6
"""Rows around a strip that a first layer reads, of kernels up to 7."""

_HIGHEST = 4
"""Heights up to so many widths are tried where nobody says."""


@dataclass(frozen=True, kw_only=True)
class StripLayout:
    """The cut of one run."""

    model: ModelFolder
    partition: Partition
    width: int
    """Of the latent."""

    def strip(self, cloud: int) -> Window:
        """A cloud's strip of the latent, without border rows."""
        rows = self.partition.strips(self.partition.height)[cloud]
        return Window(rows.start, rows.stop, 0, self.width, self.partition.height, self.width)

    def input_of(self, path: str, cloud: int) -> Window:
        """The rows that a cloud is sent of a layer's input."""
        layer = self._layers[path]
        height, width = layer.input_shape[2:]
        rows = self._input_rows(path, layer, cloud)
        return Window(rows.start, rows.stop, 0, width, height, width)

    def whole_of(self, path: str) -> Window:
        """All of a self-attention layer's map."""
        tokens, width = self._layers[path].input_shape[1], self.width
        for height in self.partition.heights():
            if height * width == tokens:
                return Window(0, height, 0, width, height, width)
            width = -(-width // 2)
        raise LacksInput(f"{path} has no map of a size that the U-Net's levels have")

    def _input_rows(self, path: str, layer: Layer, cloud: int) -> Rows:
        if layer.kind == "norm":
            return self.partition.strips(layer.input_shape[2])[cloud]
        conv = self._unet.get_submodule(path)
        strip = self.partition.strips(layer.output_shape[2])[cloud]
        sizes = {"kernel": conv.kernel_size[0], "stride": conv.stride[0], "padding": conv.padding[0]}
        return window(strip, layer.input_shape[2], **sizes).rows

    @cached_property
    def _layers(self) -> dict[str, Layer]:
        shape = (1, self.model.config("unet")["in_channels"], self.partition.height, self.width)
        return {layer.path: layer for layer in unet_layers(self.model, shape, 1, 1)}

    @cached_property
    def _unet(self) -> Any:
        return meta_unet(self.model)


def layout_of(view: RunView) -> StripLayout:
    """Finds the cut: from the settings, or from the rows of the first layer that was sent.

    Raises:
        LacksInput: no height fits what was seen.
    """
    if view.settings is not None:
        factor = 2 ** (len(view.model.config("vae")["block_out_channels"]) - 1)
        return _layout(view, view.settings.height // factor, view.settings.width // factor)
    for cloud, transcript in zip(view.clouds, view.transcripts, strict=True):
        for entry in messages(transcript, *MAPS):
            path, (height, width) = entry.values["path"], present(entry.tensors["rows"]).shape[2:]
            for whole in (width, *range(1, _HIGHEST * width + 1)):
                with suppress(ValueError):
                    layout = _layout(view, whole, width)
                    # Counting a U-Net's layers takes long, and few heights can be.
                    if height - _MOST_BORDER <= layout.strip(cloud).size[0] <= height and layout.input_of(
                        path, cloud
                    ).size == (height, width):
                        return layout
            break
    raise LacksInput("no size of a picture fits the strips of this recording: say the run's size with it")


def _layout(view: RunView, height: int, width: int) -> StripLayout:
    levels = len(view.model.config("unet")["block_out_channels"])
    return StripLayout(model=view.model, partition=Partition(height, view.spec.num_clouds, levels), width=width)
