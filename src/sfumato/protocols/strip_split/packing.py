"""Cells in the number format of the wire: floats of 32 or 16 bits, or integers of 8 bits with scales.

Source: symmetric linear quantisation, e.g. Jacob et al. 2018, arXiv 1712.05877, without a zero point.
"""

from collections.abc import Hashable, Sequence
from math import prod
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from sfumato.errors import WireError

Wire = Literal["fp32", "fp16", "int8"]
Cells = Float[Tensor, "batch channel cell"]
Flat = Shaped[Tensor, "_"]

HALO_GROUP = 32
"""Channels that share a scale where border cells travel as integers: the residual stream is the touchiest."""
TOKEN_GROUP = 64
"""The same for what goes to attention and comes back."""

Format = Literal["fp32", "fp16", "int8", "int4"]
"""How cells are packed: as the wire says, or in integers of 4 bits, two channels in a byte."""

_FLOATS = {"fp32": torch.float32, "fp16": torch.float16}
_LARGEST = {"int8": 127, "int4": 7}
_SMALLEST_SCALE = 2.0**-14
"""The smallest normal fp16: scales below it would be rounded coarsely."""


class Packed(NamedTuple):
    """Cells as they travel."""

    values: Tensor
    """(batch, channel, cell)."""
    scales: Tensor | None
    """fp16, (batch, group of channels, cell), for integers."""
    means: Tensor | None = None
    """fp16, (batch, channel): taken off before, and added after."""


def pack(cells: Cells, wire: Format, group: int, *, is_centred: bool = False) -> Packed:
    """Packs cells; of integers, every ``group`` channels of a cell share a scale.

    With ``is_centred`` the mean of every channel over the cells travels apart, unless the wire is exact: attention adds
    much that is the same everywhere. Means and scales are rounded first, and the values by what they were rounded to,
    so that their rounding costs nothing.
    """
    if is_centred and wire != "fp32":
        means = cells.mean(2).half()
        return pack(cells - means.to(cells.dtype).unsqueeze(2), wire, group)._replace(means=means)
    if wire == "fp32" or wire == "fp16":
        return Packed(cells.to(_FLOATS[wire]), None)
    largest = _LARGEST[wire]
    grouped = _grouped(cells, group)
    # Rounding a scale to fp16 moves it by 2^-11 at most; a little more room, and no value is cut off.
    reach = grouped.abs().amax(2) * (1 + 2.0**-10)
    scales = (reach / largest).clamp(_SMALLEST_SCALE, 65504).half()
    values = (grouped / scales.float().unsqueeze(2)).round_().clamp_(-largest, largest).to(torch.int8).flatten(1, 2)
    if wire == "int4":
        low, high = values[:, 0::2], values[:, 1::2]
        values = (low & 15) | (high << 4)
    return Packed(values, scales)


def unpack(packed: Packed, dtype: torch.dtype, wire: Format) -> Cells:
    """Gives the cells back."""
    if packed.means is not None:
        return unpack(packed._replace(means=None), dtype, wire) + packed.means.to(dtype).unsqueeze(2)
    if packed.scales is None:
        return packed.values.to(dtype)
    values = packed.values
    if wire == "int4":
        # Arithmetic shifts bring the signs back.
        values = torch.stack([(values << 4) >> 4, values >> 4], dim=2).flatten(1, 2)
    values = values.unflatten(1, (packed.scales.shape[1], -1)).to(dtype)
    return (values * packed.scales.to(dtype).unsqueeze(2)).flatten(1, 2)


def packed_shapes(
    shape: tuple[int, int, int], wire: Format, group: int
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Shapes of values and scales for cells of a shape."""
    batch, channels, cells = shape
    if wire == "fp32" or wire == "fp16":
        return shape, None
    return (
        (batch, channels if wire == "int8" else channels // 2, cells),
        (batch, channels // _group_size(channels, group), cells),
    )


class Memory:
    """What the receiver has of cells that are sent again and again; both ends keep it, and only differences travel.

    The sender takes the difference to what the receiver has, not to what it sent, so that no error adds up.

    Source: closed-loop differential coding (DPCM), e.g. Jayant and Noll 1984, "Digital Coding of Waveforms".
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Tensor] = {}

    def pack(self, key: Hashable, cells: Cells, wire: Format, group: int) -> Packed:
        """Packs cells to send, centred; with int4, the difference to those that were sent under the key before."""
        packed = pack(cells.float() - self._before(key, wire), wire, group, is_centred=True)
        self.unpack(key, packed, wire)
        return packed

    def unpack(self, key: Hashable, packed: Packed, wire: Format) -> Cells:
        """The cells that were received, fp32."""
        cells = unpack(packed, torch.float32, wire) + self._before(key, wire)
        self._known[key] = cells
        return cells

    def _before(self, key: Hashable, wire: Format) -> Tensor | float:
        return self._known[key] if wire == "int4" else 0.0


class Row:
    """Takes packed cells from flat tensors, in the order in which :func:`in_a_row` laid them.

    Raises:
        WireError: there is less than is taken, or more than was.
    """

    def __init__(self, values: Flat, scales: Flat | None):
        self._values, self._scales = values, scales

    def take(self, shape: tuple[int, int, int], wire: Format, group: int, *, is_centred: bool = False) -> Packed:
        """The next cells, of ``shape``."""
        of_values, of_scales = packed_shapes(shape, wire, group)
        values, self._values = cut(self._values, of_values)
        scales = means = None
        if of_scales is not None:
            scales, self._scales = cut(self._scales, of_scales)
        if is_centred and wire != "fp32":
            means, self._scales = cut(self._scales, shape[:2])
        return Packed(values, scales, means)

    def end(self) -> None:
        """Says that nothing more is taken."""
        if len(self._values) or (self._scales is not None and len(self._scales)):
            raise WireError("a step began with more cells than its first places need")


def in_a_row(parts: Sequence[Packed]) -> Packed:
    """Lays packed cells of several shapes in one flat tensor, and their scales and means in another."""
    scales = [t.flatten() for p in parts for t in (p.scales, p.means) if t is not None]
    return Packed(torch.cat([p.values.flatten() for p in parts]), torch.cat(scales) if scales else None)


def cut(flat: Flat | None, shape: tuple[int, ...]) -> tuple[Tensor, Flat]:
    """The first values of a flat tensor, shaped, and the rest.

    Raises:
        WireError: there are fewer.
    """
    size = prod(shape)
    if flat is None or len(flat) < size:
        raise WireError("a step began with fewer cells than its first places need")
    return flat[:size].view(shape), flat[size:]


def wire_dtype(wire: Format) -> torch.dtype:
    """The format of the values."""
    return _FLOATS.get(wire, torch.int8)


def _grouped(cells: Cells, group: int) -> Float[Tensor, "batch groups channels cell"]:
    return cells.unflatten(1, (-1, _group_size(cells.shape[1], group)))


def _group_size(channels: int, group: int) -> int:
    """The largest divisor of the channels that is no larger than ``group``."""
    return next(g for g in range(min(group, channels), 0, -1) if channels % g == 0)
