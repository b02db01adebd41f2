"""A network before the cut that may be asked, and not looked into; questions are counted."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.errors import BudgetSpent


@dataclass(frozen=True, kw_only=True)
class Answering:
    """F1 with a defence after it: a white box computes what it knows of both, a black box gets whole releases.

    Run by: attacker.
    """

    known: Callable[[Tensor], tuple[Tensor, ...]]
    answer: Callable[[Tensor], tuple[Tensor, ...]]

    def __call__(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """What is known, with a gradient."""
        return self.known(pictures)


class Queries:
    """F1 as a black box: answers without a gradient, until its budget of pictures is spent.

    Args:
        first: F1, from pictures with values in 0..1 to features.
        budget: pictures that it answers to, all calls together.

    Source: "Unlocking Visual Secrets", Section 3.2.
    """

    def __init__(self, first: object, budget: int) -> None:
        if not callable(first):
            raise ValueError("queries need a function from pictures to features, got something that cannot be called")
        if budget < 1:
            raise ValueError(f"budget must be at least 1 picture, got {budget}")
        self._first = first.answer if isinstance(first, Answering) else first
        self.budget = budget
        self.spent = 0
        """Pictures asked so far."""

    def __call__(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Asks for the features of some pictures.

        Raises:
            BudgetSpent: they are more than the budget leaves; none of them is answered.
        """
        if (left := self.budget - self.spent) < len(pictures):
            raise BudgetSpent(
                f"{len(pictures)} pictures were asked for, and {left} of a budget of {self.budget} are left: "
                "ask for fewer, or state a larger budget"
            )
        self.spent += len(pictures)
        with torch.no_grad():
            return tuple(part.detach() for part in self._first(pictures.detach()))

    def answering(self, change: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]) -> "Queries":
        """The same network with something done to its answers, and with the questions that are left."""
        return Queries(lambda pictures: change(self(pictures)), self.budget - self.spent)
