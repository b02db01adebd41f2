"""Asks a black box about an attacker's pictures, once, and names what was learned from the answers."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from pathlib import Path

import torch
from torch import Tensor

from sfumato.attacks.inversion.inversion_network import Shape, feature_shapes
from sfumato.attacks.inversion.network_training import Answered
from sfumato.attacks.inversion.queries import Queries
from sfumato.attacks.inversion.query_pictures import QueryPictures
from sfumato.attacks.inversion.view import Features
from sfumato.attacks.inversion.watch import Progress, Watch
from sfumato.errors import BudgetSpent

_AT_ONCE = 32
"""Pictures of one question."""


@dataclass(kw_only=True)
class Asking:
    """One collection of pictures, and what a black box answers."""

    queries: Queries
    source: QueryPictures
    count: int
    """Pictures to ask about, whole clips."""
    size: tuple[int, int]
    device: torch.device
    worded: bool
    """Whether the pictures' words are needed."""
    _pictures: list[Tensor] = field(default_factory=list)
    _features: list[Features] = field(default_factory=list)

    def check(self) -> None:
        """Finds out before anything is asked whether it may all be asked.

        Raises:
            BudgetSpent: fewer questions are left.
            ValueError, Unsupported: there are not as many pictures, or words.
        """
        if (left := self.queries.budget - self.queries.spent) < self.count:
            raise BudgetSpent(
                f"the attack is to ask about {self.count} pictures, and {left} of a budget of {self.queries.budget} "
                "are left: lower queries, or state a larger budget"
            )
        self.source.check(self.count, worded=self.worded)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Of the answers for one picture."""
        self._ask()
        return feature_shapes(self._features[0], len(self._pictures[0]))

    def kept(self, about: Mapping[str, object], watch: Watch) -> tuple[Path, str, int] | None:
        """Where a network that learns from these answers is kept: file, task, steps between checkpoints.

        Named by settings, pictures and the first answers, so that another network under the same name is another task.
        """
        if watch.networks is None:
            return None
        self._ask()
        digest = hashlib.sha256(json.dumps([about, self.source.identity, self.count], sort_keys=True).encode())
        for part in (self._pictures[0], *self._features[0]):
            digest.update(part.contiguous().float().numpy().tobytes())
        task = digest.hexdigest()
        return watch.networks / f"{task[:32]}.safetensors", task, watch.keep_every

    def answers(self, watch: Watch, stage: str) -> Answered:
        """Asks whatever was not asked yet."""
        self._ask()
        while sum(map(len, self._pictures)) < self.count:
            self._ask(more=True)
            done = sum(map(len, self._pictures))
            watch.on_iteration(Progress(stage=f"{stage} questions", done=done, total=self.count, loss=nan))
        return Answered(
            pictures=torch.cat(self._pictures),
            texts=tuple(self.source.texts(0, self.count)) if self.worded else ("",) * self.count,
            features=tuple(torch.cat(parts) for parts in zip(*self._features, strict=True)),
        )

    def _ask(self, *, more: bool = False) -> None:
        if self._pictures and not more:
            return
        start = sum(map(len, self._pictures))
        pictures = self.source.pictures(start, min(self.count, start + _AT_ONCE), self.size)
        self._features.append(tuple(part.cpu() for part in self.queries(pictures.to(self.device).float() / 255)))
        self._pictures.append(pictures)
