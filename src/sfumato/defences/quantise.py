"""Fewer values: each channel is rounded to evenly spaced levels."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from sfumato.defences.base import Defence, Features, PublicSample, Release
from sfumato.defences.channels import along_channels, channel_axis
from sfumato.protocols.base import setting

_MOST_BITS = 16


@dataclass(frozen=True, kw_only=True)
class Quantise(Defence):
    """Uniform levels between the least and the largest value that a channel takes on public pictures."""

    name: ClassVar[str] = "quantise"
    claim: ClassVar[str] = "Nothing is proven: it hides what lies between two levels, and as much as an attack shows."
    cost: ClassVar[str] = "Nothing to compute, and fewer bytes to send; accuracy falls with the bits."

    bits: int = setting(2, f"of each value, 1 to {_MOST_BITS}")

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= _MOST_BITS:
            raise ValueError(f"bits must be in [1, {_MOST_BITS}], got {self.bits}")

    def fit(self, sample: PublicSample) -> "RoundedRelease":
        """Takes each channel's range from the public pictures."""
        flat = [part.detach().movedim(channel_axis(part), 0).flatten(1) for part in sample.features]
        return RoundedRelease(
            lowest=tuple(part.amin(1) for part in flat),
            highest=tuple(part.amax(1) for part in flat),
            steps=2**self.bits - 1,
        )


@final
@dataclass(frozen=True, kw_only=True)
class RoundedRelease(Release):
    """Rounding at one cut."""

    lowest: tuple[Tensor, ...]
    highest: tuple[Tensor, ...]
    """Of each channel, a tensor for each that crosses."""
    steps: int
    """Between the lowest and the highest level."""

    def apply(self, features: Features, generator: torch.Generator) -> Features:  # noqa: ARG002
        """The nearest levels.

        Reveals: the features, to half a level; values outside a channel's public range, as its end.
        """
        return tuple(
            self._rounded(part, low, high)
            for part, low, high in zip(self.known(features), self.lowest, self.highest, strict=True)
        )

    def known(self, features: Features) -> Features:
        """Cuts values to the ranges; rounding has no gradient that would help."""
        return tuple(
            part.clamp(along_channels(low, part), along_channels(high, part))
            for part, low, high in zip(features, self.lowest, self.highest, strict=True)
        )

    def _rounded(self, part: Tensor, low: Tensor, high: Tensor) -> Tensor:
        start = along_channels(low, part)
        # A channel that is always the same has a range of 0.
        step = along_channels((high - low) / self.steps, part).clamp(min=torch.finfo(part.dtype).tiny)
        return start + ((part - start) / step).round() * step
