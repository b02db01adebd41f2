"""How much memory a forward pass holds for its backward pass, and how much there is."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

_SHARE = 0.5
"""Of the free memory that is taken unless a size is named; the rest is for the target and for other programs."""
_GIB = 1 << 30


def saved_bytes(work: Callable[[], Tensor], *weights: nn.Module) -> int:
    """Bytes that autograd keeps of one run, without the modules' own weights; the result is dropped."""
    known = {value.untyped_storage().data_ptr() for module in weights for value in module.parameters()}
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = work()
    del result
    return sum(sizes.values())


def activation_budget(memory_gib: float, device: torch.device) -> int:
    """Bytes that activations may take.

    Args:
        memory_gib: what the user allows; 0 for half of what is free on the device.
        device: where the attack computes.

    Raises:
        ValueError: a negative size.
    """
    if memory_gib < 0:
        raise ValueError(f"memory_gib must not be negative, got {memory_gib}; 0 takes half of what is free")
    return int(memory_gib * _GIB) if memory_gib else int(_SHARE * free_bytes(device))


def free_bytes(device: torch.device) -> int:
    """Memory that nothing uses now; 0 where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
