"""Features as an attacker's regressions read them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Standard:
    """Numbers of one size: the mean is taken off, each column is divided by its deviation, and all by one factor that
    makes the mean square of a row 1. Turned into the directions in which the examples differ.
    """

    mean: Float[Tensor, " number"]
    directions: Float[Tensor, "number direction"]

    @classmethod
    def of(cls, rows: Float[Tensor, "example number"]) -> "Standard":
        """Finds them."""
        exact = rows.double()
        mean, deviation = exact.mean(0), exact.std(0)
        scale = (
            torch.where(deviation > 1e-6 * deviation.max(), 1 / deviation.clamp_min(1e-12), 0) / rows.shape[1] ** 0.5
        )
        _, _, directions = torch.linalg.svd((exact - mean) * scale, full_matrices=False)
        return cls(mean=mean, directions=scale[:, None] * directions.mT)

    def __call__(self, rows: Float[Tensor, "picture number"]) -> Float[Tensor, "picture direction"]:
        """Changes other rows alike."""
        return (rows.double() - self.mean) @ self.directions
