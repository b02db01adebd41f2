"""Gaussian noise on features whose norm is bounded: the one defence here with a proof."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from sfumato.defences.accounting import gaussian_guarantee
from sfumato.defences.base import Defence, Features, Guarantee, PublicSample, Release
from sfumato.protocols.base import setting

_PAIR = 2
"""Two features of norm at most 1 are at most so far apart."""


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Defence):
    """Features are scaled down to a norm where they are longer, and noise is added to every value.

    Source: "Unlocking Visual Secrets", Section 8.2, which names noise and leaves its form open; clipping as in Abadi et
        al. 2016, arXiv 1607.00133, Algorithm 1, of features in place of gradients.
    """

    name: ClassVar[str] = "gaussian-noise"
    claim: ClassVar[str] = (
        "(epsilon, delta) differential privacy of one release against replacing its picture; a large epsilon promises "
        "nothing, and what the network computes from the noisy features is not hidden."
    )
    cost: ClassVar[str] = "One number drawn for each value that crosses; accuracy falls with the noise."

    noise_multiplier: float = setting(0.03, "standard deviation of the noise, over clip_norm")
    clip_norm: float = setting(0.0, "L2 norm that a picture's features may have; 0 takes the public pictures' median")
    delta: float = setting(1e-5, "of (epsilon, delta)")

    def __post_init__(self) -> None:
        if not self.noise_multiplier > 0:
            raise ValueError(f"noise_multiplier must be above 0, got {self.noise_multiplier}; 0 would be no defence")
        if not self.clip_norm >= 0:
            raise ValueError(f"clip_norm must not be negative, got {self.clip_norm}; 0 takes the public median")
        if not 0 < self.delta < 1:
            raise ValueError(f"delta must be in (0, 1), got {self.delta}")

    def fit(self, sample: PublicSample) -> "NoisyRelease":
        """Takes the median norm of the public pictures, unless a norm is named."""
        norm = self.clip_norm or float(_norms(sample.features, sample.num_pictures).median())
        return NoisyRelease(clip_norm=norm, deviation=self.noise_multiplier * norm, rows=sample.rows)

    def guarantee(self) -> Guarantee:
        """Of one release; two pictures' clipped features are at most twice the norm apart.

        Raises:
            Unsupported: opacus is not installed.
        """
        return gaussian_guarantee(self.noise_multiplier / _PAIR, self.delta)


@final
@dataclass(frozen=True, kw_only=True)
class NoisyRelease(Release):
    """Clipping and noise at one cut."""

    clip_norm: float
    deviation: float
    """Of the noise on each value."""
    rows: tuple[int, ...]

    def apply(self, features: Features, generator: torch.Generator) -> Features:
        """Clipped features with noise.

        Reveals: the features, as far as the noise lets through.
        """
        return tuple(part + self.deviation * _noise(part, generator) for part in self.known(features))

    def known(self, features: Features) -> Features:
        """Clips, over all tensors of a picture together."""
        count = len(features[0]) // self.rows[0]
        scales = (self.clip_norm / _norms(features, count).clamp(min=self.clip_norm)).clamp(max=1)
        return tuple(
            part * scales.repeat_interleave(rows).view(-1, *[1] * (part.ndim - 1))
            for part, rows in zip(features, self.rows, strict=True)
        )


def _norms(features: Features, count: int) -> Tensor:
    """Each picture's L2 norm over all tensors."""
    squares = [part.reshape(count, -1).square().sum(1) for part in features]
    # The square root has no slope at 0.
    return torch.stack(squares).sum(0).clamp(min=torch.finfo(torch.float32).tiny).sqrt()


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like)
