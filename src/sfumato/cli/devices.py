"""``--device``."""

import torch

from sfumato.errors import Unsupported


def device_from(name: str) -> torch.device:
    """Where to compute.

    Args:
        name: auto, cpu or cuda.

    Raises:
        ValueError: another name.
        Unsupported: there is no accelerator.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device must be auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise Unsupported("there is no accelerator that torch can use here: use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
