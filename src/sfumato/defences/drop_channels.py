"""Fewer channels: some are released, the others are zero."""

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar, Literal, final, get_args

import torch
from torch import Tensor

from sfumato.defences.base import Defence, Features, PublicSample, Release
from sfumato.defences.channels import along_channels, channel_axis
from sfumato.protocols.base import setting
from sfumato.randomness import seeded_generator

Choice = Literal["importance", "seed"]
_DIRECTIONS = 8
"""Random directions of the result along which importance is measured."""


@dataclass(frozen=True, kw_only=True)
class DropChannels(Defence):
    """Keeps a share of the channels of every tensor that crosses; which ones is public, and the same for all."""

    name: ClassVar[str] = "drop-channels"
    claim: ClassVar[str] = "Nothing is proven: dropped channels are not sent, and kept ones are sent as they are."
    cost: ClassVar[str] = "Nothing to compute, and fewer bytes to send; accuracy falls with the channels."

    keep: float = setting(0.5, "share of the channels that are released, above 0 and at most 1")
    choice: Choice = setting("importance", "keeps those that the result depends on most, or seed: any")
    choice_seed: int = setting(0, "of the choice; public")

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep must be above 0 and at most 1, got {self.keep}")
        if self.choice not in get_args(Choice):
            raise ValueError(f"choice must be one of {', '.join(get_args(Choice))}, got {self.choice!r}")
        if self.choice_seed < 0:
            raise ValueError(f"choice_seed must not be negative, got {self.choice_seed}")

    def fit(self, sample: PublicSample) -> "FewerChannels":
        """Ranks the channels and keeps the first."""
        generator = seeded_generator(self.choice_seed)
        if self.choice == "importance":
            worth = importance(sample, generator)
        else:
            worth = [torch.rand(part.shape[channel_axis(part)], generator=generator) for part in sample.features]
        return FewerChannels(kept=tuple(self._best(each) for each in worth))

    def _best(self, worth: Tensor) -> Tensor:
        kept = torch.zeros(len(worth), dtype=torch.bool, device=worth.device)
        kept[worth.argsort(descending=True)[: ceil(self.keep * len(worth))]] = True
        return kept


@final
@dataclass(frozen=True, kw_only=True)
class FewerChannels(Release):
    """The choice at one cut."""

    kept: tuple[Tensor, ...]
    """Whether each channel is released."""

    def apply(self, features: Features, generator: torch.Generator) -> Features:  # noqa: ARG002
        """Kept channels, and zeros.

        Reveals: the kept channels, whole.
        """
        return self.known(features)

    def known(self, features: Features) -> Features:
        """The same: there is no chance in it."""
        return tuple(part * along_channels(kept.to(part), part) for part, kept in zip(features, self.kept, strict=True))


def importance(sample: PublicSample, generator: torch.Generator) -> list[Tensor]:
    """How much the result would change without each channel: to first order, squared, in the mean over pictures.

    Source: Molchanov et al. 2017, arXiv 1611.06440, Eq. 7, of the network's result along random directions in place of
        a loss, for there need be no labels.
    """
    parts = tuple(part.detach().clone().requires_grad_() for part in sample.features)
    with torch.enable_grad():
        result = _flat(sample.second(parts), sample.num_pictures)
    found = [part.new_zeros(part.shape[channel_axis(part)]) for part in parts]
    for direction in range(_DIRECTIONS):
        signs = torch.randint(0, 2, result.shape, generator=generator).to(result) * 2 - 1
        keep_graph = direction + 1 < _DIRECTIONS
        slopes = torch.autograd.grad(result, parts, signs, retain_graph=keep_graph, allow_unused=True)
        for place, (part, slope) in enumerate(zip(parts, slopes, strict=True)):
            if slope is not None:
                change = (part * slope).detach().movedim(channel_axis(part), 1)
                change = change.reshape(*change.shape[:2], -1).sum(2)
                found[place] += change.square().mean(0)
    return found


def _flat(result: Any, count: int) -> Tensor:
    """All values of a network's result, a row a picture."""
    parts = (result,) if isinstance(result, Tensor) else result
    return torch.cat([part.reshape(count, -1) for part in parts], dim=1)
