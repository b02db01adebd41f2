"""The text prior's loss term: how far a latent is from a draw of Gaussian noise."""

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sfumato.tensors import Latent

TextTerm = Literal["published", "negentropy"]

_NODES = 200
_LOG_2 = math.log(2.0)


def text_term(normalised: Latent, alpha: float, term: TextTerm = "published") -> Float[Tensor, " batch"]:
    """One of the two terms below."""
    return published_term(normalised, alpha) if term == "published" else negentropy(normalised, alpha)


def published_term(normalised: Latent, alpha: float) -> Float[Tensor, " batch"]:
    """The term as the paper prints it, one value a picture.

    It is least for values that are all of one size, +1 or -1, and not for Gaussian ones: the comparison with a Gaussian
    that makes a negentropy of it is left out in the paper.

    Args:
        normalised: of mean 0 and standard deviation 1, a picture.
        alpha: in [1, 2].

    Raises:
        ValueError: alpha out of range.

    Source: "Unlocking Visual Secrets", Eq. 8: -E[log cosh^2(alpha v) / alpha^2].
    """
    return -contrast(normalised, alpha).flatten(1).mean(1)


def negentropy(normalised: Latent, alpha: float) -> Float[Tensor, " batch"]:
    """The negentropy that the paper refers to, up to a factor: 0 for Gaussian values, and otherwise above.

    Raises:
        ValueError: alpha out of range.

    Source: Hyvärinen and Oja 2000, Eq. 23: (E[G(v)] - E[G(nu)])^2 with nu Gaussian and Eq. 26's log cosh as G.
    """
    return (contrast(normalised, alpha).flatten(1).mean(1) - gaussian_contrast(alpha)).square()


def contrast(values: Tensor, alpha: float) -> Tensor:
    """log cosh^2(alpha v) / alpha^2 of every value, without overflow for large ones."""
    if not 1 <= alpha <= 2:
        raise ValueError(f"alpha must be in [1, 2], got {alpha}")
    size = (alpha * values).abs()
    # log cosh x = x + log(1 + exp(-2x)) - log 2
    return 2 * (size + functional.softplus(-2 * size) - _LOG_2) / alpha**2


@lru_cache
def gaussian_contrast(alpha: float) -> float:
    """The mean of `contrast` over a standard Gaussian, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    values = contrast(torch.from_numpy(nodes), alpha)
    return float(values @ torch.from_numpy(weights)) / math.sqrt(2 * math.pi)
