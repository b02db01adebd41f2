"""Which axis of a tensor that crosses a cut counts channels."""

from torch import Tensor


def channel_axis(part: Tensor) -> int:
    """The second axis of feature maps and of plain vectors, the last of tokens.

    Args:
        part: features, pictures on the first axis.
    """
    return 2 if part.ndim == 3 else 1


def along_channels(values: Tensor, part: Tensor) -> Tensor:
    """One value a channel, shaped to be combined with features."""
    shape = [1] * part.ndim
    shape[channel_axis(part)] = len(values)
    return values.view(shape)
