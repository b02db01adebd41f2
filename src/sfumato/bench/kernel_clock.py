"""The time that torch's kernels take, and what taking it costs."""

from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_BATCH, _BATCHES = 50, 40


class KernelClock(TorchDispatchMode):
    """Adds up the time that torch's kernels take, whoever calls them in this thread.

    Args:
        idle_seconds: taken off each operator's time: what one takes that computes nothing.
    """

    def __init__(self, idle_seconds: float = 0.0) -> None:
        super().__init__()
        self._idle_seconds = idle_seconds
        self.seconds = 0.0
        self.num_calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        started = perf_counter()
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.seconds += max(0.0, perf_counter() - started - self._idle_seconds)
            self.num_calls += 1


@dataclass(frozen=True)
class Idle:
    """Seconds of an operator that computes nothing."""

    clocked: float
    """What a :class:`KernelClock` shows for it."""
    instrument: float
    """How much longer it takes under the clock than without."""


def idle() -> Idle:
    """Times views of a small tensor; medians of many batches."""
    tensor = torch.zeros(2, 2)

    def batch() -> float:
        started = perf_counter()
        for _ in range(_BATCH):
            tensor.view(4)
        return (perf_counter() - started) / _BATCH

    bare, under, clocked = [], [], []
    for _ in range(_BATCHES):
        bare.append(batch())
        with KernelClock() as clock:
            under.append(batch())
        clocked.append(clock.seconds / _BATCH)
    return Idle(median(clocked), median(under) - median(bare))
