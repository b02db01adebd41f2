"""A Gaussian prior of latents: a mean picture, and differences from it whose statistics are the same everywhere.

Source: interpolation by conditional means (kriging), Rasmussen and Williams 2006, "Gaussian Processes for Machine
Learning", eq. 2.19, with products by the covariance as convolutions on a torus.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from sfumato.tensors import Latent

_SHRINKAGE = 0.1
"""Part of the spectrum that is the mean over frequencies: few pictures leave single frequencies without any power."""
_NUGGET = 1e-3
"""Part of the variance that neighbours do not share, which keeps the equations well conditioned."""
_MOST_ITERATIONS = 200
_CLOSE = 1e-4

Mask = Bool[Tensor, "channel height width"]
One = Float[Tensor, "channel height width"]


@dataclass(frozen=True, kw_only=True, eq=False)
class StationaryPrior:
    """Of one latent."""

    mean: One
    spectrum: Complex[Tensor, "height width channel channel"]
    """Covariance of the channels by frequency."""

    @classmethod
    def of(cls, latents: Latent) -> "StationaryPrior":
        """Estimates it.

        Raises:
            ValueError: fewer than two latents.
        """
        if len(latents) < 2:
            raise ValueError(f"a spectrum is estimated from 2 pictures or more, got {len(latents)}")
        exact = latents.double()
        mean = exact.mean(dim=0)
        waves = torch.fft.fft2(exact - mean, norm="ortho")
        spectrum = torch.einsum("bchw,bdhw->hwcd", waves, waves.conj()) / (len(latents) - 1)
        level = spectrum.mean(dim=(0, 1))
        spectrum = (1 - _SHRINKAGE) * spectrum + _SHRINKAGE * level
        nugget = _NUGGET * level.diagonal().real.mean() * torch.eye(len(level))
        return cls(mean=mean, spectrum=spectrum + nugget)

    def _spread(self, values: One) -> One:
        """The covariance times values."""
        waves = torch.fft.fft2(values)
        return torch.fft.ifft2(torch.einsum("hwcd,dhw->chw", self.spectrum, waves)).real

    def filled_in(self, known: One, is_known: Mask) -> One:
        """The conditional mean of a latent of which some entries are known; these are kept as they are.

        Args:
            known: their values, and anything elsewhere.
            is_known: where they are.
        """
        exact = known.double()
        zero = torch.zeros_like(exact)
        difference = torch.where(is_known, exact - self.mean, zero)
        weights = _solved(lambda v: torch.where(is_known, self._spread(v), zero), difference)
        return torch.where(is_known, exact, self.mean + self._spread(weights))


def _solved(product: Callable[[One], One], right: One) -> One:
    """Solves a symmetric positive definite system by conjugate gradients."""
    solution, residual = torch.zeros_like(right), right.clone()
    direction, size = residual, residual.square().sum()
    enough = _CLOSE**2 * size
    for _ in range(_MOST_ITERATIONS):
        if size <= enough:
            break
        along = product(direction)
        stride = size / (direction * along).sum()
        solution, residual = solution + stride * direction, residual - stride * along
        before, size = size, residual.square().sum()
        direction = residual + size / before * direction
    return solution
