"""Which entries of a latent are encrypted: HE-Diffusion's minimum distortion, and what to compare it with.

Source: Chen and Yan 2024, arXiv 2403.05794 (min-distortion), whose measure of distortion is HILL: Li, Wang, Huang, Li,
"A new cost function for spatial image steganography", ICIP 2014. Written from the formulas.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sfumato.protocols.homomorphic.index_set import IndexSet
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.randomness import fresh_seed, seeded_generator
from sfumato.tensors import Latent

CostMap = Float[Tensor, "batch 1 height width"]

_HIGH_PASS = ((-1.0, 2.0, -1.0), (2.0, -4.0, 2.0), (-1.0, 2.0, -1.0))
"""HILL's (the second derivative of Ker and Böhme 2008)."""
_FLAT = 1e-10
"""Keeps the reciprocal finite where a latent is flat."""
_SMALLEST = 8
"""Rows and columns that the largest window can be mirrored into."""


def _mean(maps: CostMap, window: int) -> CostMap:
    return F.avg_pool2d(F.pad(maps, (window // 2,) * 4, mode="reflect"), window, stride=1)


def hill_cost(latent: Latent) -> CostMap:
    """What changing a place costs: large where a picture is smooth, in fp64.

    The high pass over the channels' sum, its magnitude, a mean over 3 x 3, the reciprocal, a mean over 15 x 15.

    Raises:
        ValueError: smaller than 8 x 8.
    """
    if min(latent.shape[2:]) < _SMALLEST:
        raise ValueError(f"latents must be {_SMALLEST} x {_SMALLEST} or larger, got {tuple(latent.shape[2:])}")
    kernel = torch.tensor(_HIGH_PASS, dtype=torch.float64)[None, None]
    total = F.pad(latent.cpu().double().sum(dim=1, keepdim=True), (1,) * 4, mode="reflect")
    return _mean(1 / (_mean(F.conv2d(total, kernel).abs(), 3) + _FLAT), 15)


@dataclass(frozen=True, kw_only=True)
class Selection(ABC):
    """A way to choose; the same latents give the same set."""

    @final
    def __call__(self, latent: Latent) -> IndexSet:
        """Chooses the entries to encrypt; the fraction is part of the result.

        Run by: client.
        """
        return IndexSet.of_mask(self.hidden(latent))

    @abstractmethod
    def hidden(self, latent: Latent) -> Bool[Tensor, "batch channel height width"]:
        """True where an entry is to be encrypted."""


@dataclass(frozen=True, kw_only=True)
class MinDistortion(Selection):
    """HE-Diffusion's: the entries whose loss distorts a picture least stay in the clear.

    An entry's distortion is its magnitude times HILL's cost at its place. Cheapest first, entries of a picture stay in
    the clear as long as all of their distortion is less than ``threshold`` of the picture's.

    Reveals: the set depends on the latent.
    """

    threshold: float
    """In [0, 1]; the paper's is 0.01."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {self.threshold}")

    def hidden(self, latent: Latent) -> Bool[Tensor, "batch channel height width"]:
        """What is beyond the budget; picture by picture."""
        distortion = (latent.cpu().double().abs() * hill_cost(latent)).flatten(1)
        cheapest_first, order = distortion.sort(dim=1, stable=True)
        spent = cheapest_first.cumsum(dim=1)
        is_hidden = ~(spent < self.threshold * spent[:, -1:])  # not a number: hidden
        return torch.empty_like(is_hidden).scatter_(1, order, is_hidden).reshape(latent.shape)


@dataclass(frozen=True, kw_only=True)
class RandomEntries(Selection):
    """As many entries as a fraction says, wherever: what minimum distortion is compared with."""

    fraction: float
    """In [0, 1]."""
    seed: int
    """Of the choice, which is no secret: the set is sent in the clear."""

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"fraction must be in [0, 1], got {self.fraction}")

    def hidden(self, latent: Latent) -> Bool[Tensor, "batch channel height width"]:
        """The first so many of a shuffled list."""
        num = latent.numel()
        mask = torch.zeros(num, dtype=torch.bool)
        mask[torch.randperm(num, generator=seeded_generator(self.seed))[: round(self.fraction * num)]] = True
        return mask.reshape(latent.shape)


@dataclass(frozen=True, kw_only=True)
class NoEntries(Selection):
    """Everything in the clear."""

    def hidden(self, latent: Latent) -> Bool[Tensor, "batch channel height width"]:
        """False."""
        return torch.zeros(latent.shape, dtype=torch.bool)


@dataclass(frozen=True, kw_only=True)
class AllEntries(Selection):
    """Nothing in the clear."""

    def hidden(self, latent: Latent) -> Bool[Tensor, "batch channel height width"]:
        """True."""
        return torch.ones(latent.shape, dtype=torch.bool)


@dataclass(frozen=True, kw_only=True)
class AsManyAtRandom(Selection):
    """As many entries as another selection chooses, wherever, and others each time."""

    selection: Selection

    def hidden(self, latent: Latent) -> Bool[Tensor, "batch channel height width"]:
        """Random ones."""
        return RandomEntries(fraction=self.selection(latent).fraction, seed=fresh_seed()).hidden(latent)


def selection_of(spec: Homomorphic) -> Selection:
    """The selection that a spec asks for."""
    least = MinDistortion(threshold=spec.threshold)
    match spec.selection:
        case "min-distortion":
            return least
        case "random":
            return AsManyAtRandom(selection=least)
        case "all":
            return AllEntries()
        case "none":
            return NoEntries()
