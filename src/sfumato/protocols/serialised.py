"""Bytes of ciphertexts as tensors, which is what messages carry, and back."""

import torch
from jaxtyping import UInt8
from torch import Tensor

from sfumato.errors import WireError

Serialised = UInt8[Tensor, " byte"]
"""A packed vector of ciphertexts, as ``crypto`` writes it."""


def as_tensor(content: bytes) -> Serialised:
    """Bytes as a tensor of bytes."""
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def content_of(tensor: Tensor) -> bytes:
    """The bytes of a tensor from anybody.

    Raises:
        WireError: not a list of bytes.
    """
    if tensor.ndim != 1 or tensor.dtype != torch.uint8:
        raise WireError(f"a tensor of {tensor.ndim} axes and format {tensor.dtype} came where bytes were due")
    return tensor.contiguous().numpy().tobytes()
