"""What a cloud of ``strip-split`` holds of one layer's input, noted while its U-Net runs again."""

from typing import Any, NamedTuple, no_type_check

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.attacks.seen.base import Window
from sfumato.protocols.group_norm import normalise
from sfumato.protocols.strip_split.layers import Around, Neighbours, Reply
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.protocols.strip_split.tiling import Tile


class Held(NamedTuple):
    """A layer's input on a tile."""

    values: Tensor
    window: Window


class Enough(Exception):
    """The layer was reached."""


def map_window(tile: Tile, size: tuple[int, int]) -> Window:
    """A tile of a map of a size."""
    return Window(*tile.rows, *tile.columns, *size)


def noted_at(path: str, unet: nn.Module, spec: StripSplit) -> str | None:
    """The place where a layer's input is known, or None where the layer runs on the tile as it is.

    Args:
        path: of the layer.
        unet: whose layer it is.
        spec: says what is exchanged.
    """
    if path in ("conv_out", "conv_norm_out"):
        return "conv_out"
    parent, _, name = path.rpartition(".")
    if name == "conv" and "samplers." in parent:
        return parent
    if name in ("conv1", "conv2"):
        return path
    if isinstance(unet.get_submodule(path), nn.GroupNorm):
        if name == "norm":
            return path if spec.attention != "fused" else f"{parent}.transformer_blocks.0"
        return f"{parent}.{name.replace('norm', 'conv')}"
    return None


class NotingNeighbours(Neighbours):
    """Passes on what a tile learns of the others, and keeps one layer's input.

    Group norms before a layer are those of the whole map, and a layer that reads across the tile's border has the cells
    around it: the cloud is told both. Variances below 0, of a transcript of noise, count as 0.

    Args:
        inner: gives the answers.
        unet: the copy that runs.
        path: of the layer.
        place: where its input is known, or None.
        may_stop: whether a step may end there.
    """

    held: Held | None

    def __init__(self, inner: Neighbours, unet: Any, path: str, place: str | None, may_stop: bool):
        self._inner, self._unet = inner, unet
        self._path, self._place, self._may_stop = path, place, may_stop

    def begin(self, own: Tile, size: tuple[int, int]) -> None:
        """Starts a step; the tile, and the map's size, are of the layer's level."""
        self.held, self._own, self._size = None, own, size

    def hear(self, values: Tensor) -> None:
        """Takes a layer's input where the layer itself runs.

        The cells around a tile may pass a layer of attention too, as a map of one row or as so many tokens, and do so
        before the tile's own; at the first projection they come after.
        """
        height, width = self._own.shape
        if values.dim() == 3 and values.shape[1] == height * width:
            values = values.transpose(1, 2).unflatten(2, (height, width))
        if values.dim() != 4 or values.shape[2:] != (height, width):
            return
        if self.held is None or not self._path.endswith("proj_in"):
            self.held = Held(values.float(), map_window(self._own, self._size))

    @no_type_check
    def surroundings(self, path, own, norm):
        """The inner ones', noted."""
        around = self._inner.surroundings(path, own, norm)
        around = around._replace(statistics=_sound(around.statistics))
        if path == self._place:
            self._note(*self._around(around, norm))
        return around

    @no_type_check
    def whole_statistics(self, path, own, norm):
        """The inner ones', noted."""
        if path == self._place:
            self._note(own, map_window(self._own, self._size))
        return _sound(self._inner.whole_statistics(path, own, norm))

    @no_type_check
    def attended(self, path, own, norm) -> Reply:
        """The inner ones', noted."""
        if path == self._place:
            self._note(own, map_window(self._own, self._size))
        reply = self._inner.attended(path, own, norm)
        return reply._replace(statistics=_sound(reply.statistics))

    @no_type_check
    def know(self, path, ring):
        """Handed on."""
        self._inner.know(path, ring)

    @no_type_check
    def _around(self, around: Around, norm):
        cells, halo = around.cells, around.halo
        if halo.is_doubled:
            cells = F.interpolate(cells, scale_factor=2.0, mode="nearest")
            top, left = 2 * halo.needed.rows.start, 2 * halo.needed.columns.start
            cells = cells[:, :, : halo.limit[0] - top, : halo.limit[1] - left]
            height, width = cells.shape[2:]
            return cells, Window(top, top + height, left, left + width, *halo.limit)
        if norm is not None and self._path.rpartition(".")[2].startswith("conv") and self._path != "conv_norm_out":
            parent = self._path.rpartition(".")[0]
            act = self._unet.get_submodule(parent).nonlinearity if parent else self._unet.conv_act
            # The copy's own forward was replaced where the last layers meet.
            cells = type(act).forward(act, normalise(cells, *around.statistics, norm))
        return cells, map_window(halo.needed, halo.limit)

    @no_type_check
    def _note(self, values, window):
        self.held = Held(values.float(), window)
        if self._may_stop:
            raise Enough


def _sound(statistics: Tensor | None) -> Tensor | None:
    return None if statistics is None else torch.stack([statistics[0], statistics[1].clamp_min(0)])
