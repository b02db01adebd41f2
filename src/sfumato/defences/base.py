"""The seam of defences: settings as fields, fitted to public pictures once, then applied to what is released."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

Features = tuple[Tensor, ...]
"""The tensors that cross a cut; the first axis of each counts pictures, or a multiple of them."""


@dataclass(frozen=True, kw_only=True)
class PublicSample:
    """What a defence may be fitted to: nothing in it is anyone's secret.

    Reveals: all of it; whoever attacks the releases is taken to know it too.
    """

    features: Features
    """At the cut, of pictures that everybody may see."""
    num_pictures: int
    second: Callable[[Features], Any]
    """The network after the cut."""

    @property
    def rows(self) -> tuple[int, ...]:
        """Of each tensor, how many rows are one picture's."""
        return tuple(len(part) // self.num_pictures for part in self.features)


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """(epsilon, delta) differential privacy of one release, as an accountant states it."""

    epsilon: float | None
    """None where it is above what the accountant states."""
    delta: float
    accountant: str
    about: ClassVar[str] = (
        "One release, of one picture: for any two pictures, the chance of any outcome differs by at most a factor of "
        "exp(epsilon), but for delta. A second release of the same picture adds to it, and the noise must be drawn "
        "from a source that nobody else knows."
    )


class Release(ABC):
    """A defence at one cut.

    Run by: client.
    Reveals: what `apply` gives, and nothing else of a picture; settings and what was fitted are public.
    """

    @abstractmethod
    def apply(self, features: Features, generator: torch.Generator) -> Features:
        """What is released in place of features, of the same shapes.

        Args:
            features: of whole pictures.
            generator: of the noise, on the CPU. A seeded one is for measurements; noise that shall protect someone
                must come from one that nobody else can repeat.
        """

    @abstractmethod
    def known(self, features: Features) -> Features:
        """The part of the defence that anyone can repeat, without chance or rounding and with a gradient.

        Run by: attacker.
        """


@dataclass(frozen=True, kw_only=True)
class Defence(ABC):
    """One way to release less. A defence is a frozen dataclass whose fields are its settings."""

    name: ClassVar[str]
    claim: ClassVar[str]
    """What it hides, and what it does not, in one sentence."""
    cost: ClassVar[str]
    """What it takes of the client and of the task, in one sentence."""

    @abstractmethod
    def fit(self, sample: PublicSample) -> Release:
        """The defence at the cut where the sample was taken.

        Run by: client, once.
        """

    def guarantee(self) -> Guarantee | None:
        """What is proven of one release; None where nothing is.

        Raises:
            Unsupported: the accountant is not installed.
        """
        return None
