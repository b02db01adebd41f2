"""How far a guess is from the features, and how rough it is: one number a picture."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from sfumato.attacks.inversion.view import Features, Pictures

FeatureNorm = Literal["sum", "mean"]


def feature_distance(
    found: Features, wanted: Features, num_pictures: int, norm: FeatureNorm = "sum"
) -> Float[Tensor, " batch"]:
    """Squared distance of features, over all tensors that cross the cut.

    Args:
        found, wanted: of the same shapes.
        num_pictures: whose features they are.
        norm: "sum" over values, as the paper prints it, or their "mean".

    Raises:
        ValueError: other numbers or shapes.

    Source: "Unlocking Visual Secrets", Eq. 4 with the l2 distance.
    """
    shapes = [[tuple(part.shape) for part in parts] for parts in (found, wanted)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"the network gives features of shapes {shapes[0]} and the view holds {shapes[1]}: "
            "take both at one layer of one network, for pictures of one size"
        )
    squares = [(a - b).square().reshape(num_pictures, -1) for a, b in zip(found, wanted, strict=True)]
    total = sum((part.sum(1) for part in squares[1:]), squares[0].sum(1))
    return total / sum(part.shape[1] for part in squares) if norm == "mean" else total


def total_variation(pictures: Pictures) -> Float[Tensor, " batch"]:
    """Mean over pixels of the squared differences to the next row and column, channels summed.

    Source: "Unlocking Visual Secrets", Eq. 7.
    """
    height, width = pictures.shape[-2:]
    down = (pictures[..., 1:, :] - pictures[..., :-1, :]).square().sum((1, 2, 3))
    across = (pictures[..., 1:] - pictures[..., :-1]).square().sum((1, 2, 3))
    return (down + across) / (height * width)
