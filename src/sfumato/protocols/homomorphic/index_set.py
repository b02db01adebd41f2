"""Which entries of a tensor are encrypted: in one order, so that the set says nothing beyond itself."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Entries = Float[Tensor, " entry"]


class Parts(NamedTuple):
    """A tensor's values, cut by an index set, each in the order of the tensor's memory."""

    hidden: Entries
    remaining: Entries


@dataclass(frozen=True, kw_only=True, eq=False)
class IndexSet:
    """Entries of a tensor of some shape, as sorted positions in its memory (a COO list with raveled coordinates).

    Reveals: it is sent in the clear, and where it was chosen by the tensor's values it says something about them.
    """

    shape: tuple[int, ...]
    positions: Int64[Tensor, " hidden"]

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"shape must have one axis or more, none of them empty, got {self.shape}")
        at = self.positions
        if at.dim() != 1 or at.dtype != torch.int64:
            raise ValueError("positions must be a list of 64-bit integers")
        if len(at) and not (at[0] >= 0 and at[-1] < self.num_entries and bool((at[1:] > at[:-1]).all())):
            raise ValueError(f"positions must be sorted, different and in [0, {self.num_entries})")

    @classmethod
    def of_mask(cls, mask: Bool[Tensor, "..."]) -> "IndexSet":
        """The entries where a mask is true."""
        return cls(shape=tuple(mask.shape), positions=mask.cpu().reshape(-1).nonzero()[:, 0])

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def num_entries(self) -> int:
        """Of the tensor, in the set or not."""
        return prod(self.shape)

    @property
    def fraction(self) -> float:
        """How much of the tensor is in the set."""
        return len(self) / self.num_entries

    def mask(self) -> Bool[Tensor, "..."]:
        """True in the set."""
        mask = torch.zeros(self.num_entries, dtype=torch.bool)
        mask[self.positions] = True
        return mask.reshape(self.shape)

    @cached_property
    def _remaining(self) -> Int64[Tensor, " remaining"]:
        return (~self.mask()).reshape(-1).nonzero()[:, 0]

    def split(self, dense: Float[Tensor, "..."]) -> Parts:
        """Cuts a tensor in two.

        Raises:
            ValueError: of another shape.
        """
        if tuple(dense.shape) != self.shape:
            raise ValueError(f"the index set is of shape {self.shape}, the tensor of {tuple(dense.shape)}")
        flat = dense.reshape(-1)
        return Parts(flat[self.positions], flat[self._remaining])

    def merge(self, parts: Parts) -> Float[Tensor, "..."]:
        """Puts a tensor together again, in the remainder's dtype.

        Raises:
            ValueError: parts of other lengths.
        """
        lengths, expected = (len(parts.hidden), len(parts.remaining)), (len(self), self.num_entries - len(self))
        if lengths != expected:
            raise ValueError(
                f"parts of {lengths[0]} and {lengths[1]} entries came; expected {expected[0]}, {expected[1]}"
            )
        flat = torch.empty(self.num_entries, dtype=parts.remaining.dtype)
        flat[self.positions] = parts.hidden.to(flat.dtype)
        flat[self._remaining] = parts.remaining
        return flat.reshape(self.shape)
