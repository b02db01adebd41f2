"""How well one list of numbers follows another."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def correlation(guess: "Tensor", truth: "Tensor") -> float | None:
    """Pearson's correlation: in [-1, 1], 1 where one is a positive multiple of the other, plus a constant.

    Args:
        guess, truth: of one shape, any number of axes.

    Returns:
        0 where one side does not vary, None of fewer than two entries.

    Raises:
        ValueError: of different shapes.
    """
    import torch  # Here, as in this room's other modules: importing it takes a second.

    if guess.shape != truth.shape:
        raise ValueError(f"numbers of shape {tuple(guess.shape)} cannot be set against {tuple(truth.shape)}")
    if guess.numel() < 2:
        return None
    both = torch.stack([guess.double().flatten(), truth.double().flatten()])
    if bool((both.amax(1) == both.amin(1)).any()):
        return 0.0
    return float(torch.corrcoef(both)[0, 1])
