"""How far a guess is from the features, and how rough it is: one number a picture."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.attacks.inversion.view import Features, Pictures

FeatureNorm = Literal["sum", "mean", "relative"]

_LEAST = 1e-12
"""Of a sum of squares that is divided by: features may all be zero."""


def feature_distance(
    found: Features, wanted: Features, num_pictures: int, norm: FeatureNorm = "sum"
) -> Float[Tensor, " batch"]:
    """Squared distance of features, over all tensors that cross the cut.

    Args:
        found, wanted: of the same shapes.
        num_pictures: whose features they are.
        norm: "sum" over values, as the paper prints it, their "mean", or the sum "relative" to the wanted features'
            own: then a weight beside it means the same for networks and cuts whose features are of other sizes.

    Raises:
        ValueError: other numbers or shapes.

    Source: "Unlocking Visual Secrets", Eq. 4 with the l2 distance; "relative" is the normalised loss of Mahendran and
        Vedaldi 2015, arXiv:1412.0035, Section 3.
    """
    shapes = [[tuple(part.shape) for part in parts] for parts in (found, wanted)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"the network gives features of shapes {shapes[0]} and the view holds {shapes[1]}: "
            "take both at one layer of one network, for pictures of one size"
        )
    total = _squares([a - b for a, b in zip(found, wanted, strict=True)], num_pictures)
    match norm:
        case "sum":
            return total
        case "mean":
            return total / (sum(part.numel() for part in wanted) // num_pictures)
        case "relative":
            return total / _squares(wanted, num_pictures).clamp(min=_LEAST)


def _squares(parts: Sequence[Tensor], num_pictures: int) -> Float[Tensor, " batch"]:
    sums = [part.square().reshape(num_pictures, -1).sum(1) for part in parts]
    return torch.stack(sums).sum(0)


def total_variation(pictures: Pictures) -> Float[Tensor, " batch"]:
    """Mean over pixels of the squared differences to the next row and column, channels summed.

    Source: "Unlocking Visual Secrets", Eq. 7.
    """
    height, width = pictures.shape[-2:]
    down = (pictures[..., 1:, :] - pictures[..., :-1, :]).square().sum((1, 2, 3))
    across = (pictures[..., 1:] - pictures[..., :-1]).square().sum((1, 2, 3))
    return (down + across) / (height * width)
