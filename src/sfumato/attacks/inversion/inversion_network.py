"""The inversion network of the black-box attack: from what crosses a cut to a latent, or to a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt, log2, prod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sfumato.attacks.inversion.view import Features

Shape = tuple[int, ...]

_LEVELS = 3
_SMALL_SIDE = 4
"""Rows and columns of the map that a vector of features is turned into."""
_NARROWEST = 4
"""Channels of the layers that lead from the latent's size up to the picture's."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What an inversion network is made for; its sizes follow."""

    features: tuple[Shape, ...]
    """Of one picture, each tensor's without the batch; the first axis counts its rows for that picture."""
    output: tuple[int, int, int]
    """Channels, rows and columns."""
    inner: tuple[int, int]
    """Rows and columns at which the network begins, those of the latent; the output's are these times a power of 2."""
    num_frames: int = 1
    """Pictures whose features are mixed."""


class InversionNetwork(nn.Module):
    """Resizes and joins features, mixes those of a clip by a pointwise convolution, and runs a U-Net on each picture.

    The figure that the paper draws it in gives no widths or depth: there are three levels, as far as the size allows,
    each with twice the channels of that above, and convolution, batch normalisation and ReLU in every block. Maps
    that are larger by a whole factor are folded into channels, without loss; others are resized. Vectors pass a linear
    layer.

    Args:
        layout: shapes in and out.
        width: channels of the first level.

    Source: "Unlocking Visual Secrets", Section 5, Figures 7 and 9.
    """

    def __init__(self, layout: Layout, width: int) -> None:
        super().__init__()
        self._layout = layout
        self.from_vectors = nn.ModuleDict(
            {
                str(place): nn.Linear(prod(shape), width * _SMALL_SIDE**2)
                for place, shape in enumerate(layout.features)
                if not _is_map(shape)
            }
        )
        channels = self._joined(tuple(torch.zeros(shape, device="meta") for shape in layout.features), 1, meta=width)
        joined = channels.shape[1]
        self.even = nn.BatchNorm2d(joined, affine=False)
        self.mix: nn.Module = nn.Identity()
        if layout.num_frames > 1:
            self.mix = _mixing(joined * layout.num_frames)
        self.unet = _UNet(joined, width, _depth(layout.inner))
        doublings = round(log2(layout.output[1] / layout.inner[0]))
        rising = [max(_NARROWEST, width // 2**level) for level in range(doublings + 1)]
        self.rise = nn.Sequential(*(_up(rising[level], rising[level + 1]) for level in range(doublings)))
        self.last = nn.Conv2d(rising[-1] if doublings else width, layout.output[0], 3, padding=1)

    def forward(self, features: Features, num_pictures: int) -> Float[Tensor, "batch channel height width"]:
        """One output a picture; frames of a clip are beside each other."""
        maps = self.even(self._joined(features, num_pictures))
        if (frames := self._layout.num_frames) > 1:
            clips = maps.unflatten(0, (-1, frames)).flatten(1, 2)
            maps = self.mix(clips).unflatten(1, (frames, -1)).flatten(0, 1)
        found: Tensor = self.last(self.rise(self.unet(maps)))
        return found

    def _joined(self, features: Features, num_pictures: int, meta: int = 0) -> Tensor:
        parts = []
        for place, part in enumerate(features):
            rows = part.unflatten(0, (num_pictures, -1))
            if _is_map(self._layout.features[place]):
                parts.append(_fitted(_as_map(rows), self._layout.inner))
            elif meta:
                parts.append(part.new_zeros(1, meta, *self._layout.inner))
            else:
                flat = self.from_vectors[str(place)](rows.flatten(1))
                parts.append(_fitted(flat.unflatten(1, (-1, _SMALL_SIDE, _SMALL_SIDE)), self._layout.inner))
        return torch.cat(parts, dim=1)


class _UNet(nn.Module):
    """Down, up again, and across at each level."""

    def __init__(self, channels: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.enter = _block(channels, width)
        self.down = nn.ModuleList(_block(widths[level], widths[level + 1], stride=2) for level in range(depth))
        self.deepest = _block(widths[-1], widths[-1])
        self.up = nn.ModuleList(_up(widths[level + 1], widths[level]) for level in reversed(range(depth)))
        self.join = nn.ModuleList(_block(2 * widths[level], widths[level]) for level in reversed(range(depth)))

    def forward(self, maps: Tensor) -> Tensor:
        across = [self.enter(maps)]
        for down in self.down:
            across.append(down(across[-1]))
        here = self.deepest(across.pop())
        for up, join in zip(self.up, self.join, strict=True):
            here = join(torch.cat([up(here), across.pop()], dim=1))
        return here


def as_wide_as(num_parameters: int, layout: Layout) -> int:
    """The width at which a network's parameters are nearest to a number."""
    width = 1
    while count_parameters(layout, width) < num_parameters:
        width += 1
    candidates = [width, max(1, width - 1)]
    return min(candidates, key=lambda each: abs(count_parameters(layout, each) - num_parameters))


def count_parameters(layout: Layout, width: int) -> int:
    """Weights of a network, without making it."""
    with torch.device("meta"):
        return sum(value.numel() for value in InversionNetwork(layout, width).parameters())


def feature_shapes(features: Sequence[Tensor], num_pictures: int) -> tuple[Shape, ...]:
    """What `Layout.features` holds of a batch."""
    return tuple((len(part) // num_pictures, *part.shape[1:]) for part in features)


def _is_map(shape: Shape) -> bool:
    return len(shape) in (3, 4)


def _as_map(rows: Tensor) -> Tensor:
    """(batch, repeats, channels, height, width), or (batch, repeats, tokens, channels), as (batch, channels, …)."""
    if rows.dim() == 5:
        return rows.flatten(1, 2)
    tokens = rows.flatten(1, 2).transpose(1, 2)
    count = tokens.shape[2]
    if (side := isqrt(count)) ** 2 == count:
        return tokens.unflatten(2, (side, side))
    if (side := isqrt(count - 1)) ** 2 == count - 1 and side:
        patches = tokens[:, :, 1:].unflatten(2, (side, side))
        # The first token is of the whole picture.
        return torch.cat([patches, tokens[:, :, :1, None].expand_as(patches)], dim=1)
    return tokens.unsqueeze(2)


def _fitted(maps: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = maps.shape[-2:]
    factor = height // size[0]
    if factor > 1 and (height, width) == (factor * size[0], factor * size[1]):
        return functional.pixel_unshuffle(maps, factor)
    if (height, width) == size:
        return maps
    return functional.interpolate(maps, size, mode="bilinear", antialias=height > size[0] or width > size[1])


def _depth(size: tuple[int, int]) -> int:
    """Halvings that leave whole maps of at least 2 x 2."""
    return next(
        (depth for depth in range(_LEVELS, 0, -1) if all(s % 2**depth == 0 and s >= 2 ** (depth + 1) for s in size)), 0
    )


def _mixing(channels: int) -> nn.Module:
    """Each frame's features begin as they are."""
    mixing = nn.Conv2d(channels, channels, 1)
    nn.init.dirac_(mixing.weight)
    return mixing


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _up(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
