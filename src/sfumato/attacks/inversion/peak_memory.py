"""The most memory that an attack held."""

import resource
from types import TracebackType

import torch

_UNIT = 1024
"""Linux counts resident memory in KiB."""


class MemoryPeak:
    """On an accelerator the peak of allocated tensors within the block; otherwise the process's peak so far."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.bytes = 0

    def __enter__(self) -> "MemoryPeak":
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self._device)
        else:
            self.bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
