"""Linear regression with a ridge penalty that is chosen by leaving out one example at a time.

Source: Hastie, Tibshirani and Friedman 2009, "The Elements of Statistical Learning", sections 3.4.1 and
7.10 (eq. 7.64).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ridge:
    """A mean, and what each number adds to it."""

    mean: Float[Tensor, " output"]
    weights: Float[Tensor, "number output"]

    @classmethod
    def of(cls, rows: Float[Tensor, "example number"], outputs: Float[Tensor, "example output"]) -> "Ridge":
        """Fits rows of mean 0 whose mean square is about 1."""
        mean = outputs.double().mean(0)
        differences = outputs.double() - mean
        left, values, right = torch.linalg.svd(rows.double(), full_matrices=False)
        seen = left.mT @ differences
        errors = []
        for penalty in _PENALTIES:
            shrunk = values.square() / (values.square() + penalty)
            leverage = (left.square() * shrunk).sum(1, keepdim=True)
            residuals = (differences - left @ (shrunk[:, None] * seen)) / (1 - leverage).clamp_min(1e-6)
            errors.append(float(residuals.square().mean()))
        best = _PENALTIES[errors.index(min(errors))]
        factors = values / (values.square() + best)
        return cls(mean=mean, weights=right.mT @ (factors[:, None] * seen))

    def __call__(self, rows: Float[Tensor, "picture number"]) -> Float[Tensor, "picture output"]:
        """What it expects."""
        return self.mean + rows.double() @ self.weights
