"""What a cloud may answer: tensors of the shape and format that were asked for, and finite numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sfumato.errors import WireError, WorkerError
from sfumato.transport.base import Channel


def checked(
    channel: Channel, answers: Sequence[Tensor], shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, what: str
) -> list[Tensor]:
    """Passes a round's answers on if each is what its cloud was asked for.

    Args:
        channel: that carried the round.
        answers: one per cloud, in the order of the clouds.
        shapes: that were asked for, one per cloud.
        dtype: that was asked for.
        what: was computed, for the error's sentence.

    Raises:
        WireError: another shape or number format.
        WorkerError: numbers that are not finite.
    """
    for cloud, answer, shape in zip(channel.clouds, answers, shapes, strict=True):
        check(cloud, answer, shape, dtype, what)
    return list(answers)


def check(cloud: str, answer: Tensor, shape: tuple[int, ...], dtype: torch.dtype, what: str) -> None:
    """Refuses one cloud's answer unless it is what was asked for.

    Raises:
        WireError: another shape or number format.
        WorkerError: numbers that are not finite.
    """
    if tuple(answer.shape) != shape or answer.dtype != dtype:
        raise WireError(
            f"{cloud} answered {what} with {_described(tuple(answer.shape), answer.dtype)} where "
            f"{_described(shape, dtype)} was due: it runs other code or another model"
        )
    if not is_finite(answer):
        raise WorkerError(
            f"{cloud} answered {what} with numbers that are not finite: it computes wrongly, "
            "or the number format on the wire is too narrow for this model"
        )


def is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are finite; true of a tensor on the meta device, which has none."""
    if tensor.is_meta:
        return True
    # One pass without a temporary; a sum that overflows is looked at again.
    return bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())


def _described(shape: tuple[int, ...], dtype: torch.dtype) -> str:
    return f"{'x'.join(map(str, shape))} {str(dtype).removeprefix('torch.')}"
