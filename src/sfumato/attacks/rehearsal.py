"""Runs that an attacker makes itself: the protocol, the model and the painter's captions are public."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from sfumato.tensors import Latent
from sfumato.wire.selection import Keeps

if TYPE_CHECKING:
    from sfumato.attacks.base import RunView


@dataclass(frozen=True, kw_only=True, eq=False)
class Rehearsed:
    """One run of the attacker's own, and what it asked for."""

    view: "RunView"
    """Of the same clouds as the view under attack; after the first run it may be of a cloud that sees the same numbers
    and more."""
    prompts: tuple[str, ...]
    attributes: tuple[dict[str, str], ...]
    """What each prompt says of the person."""
    latents: Latent
    """After the last step."""
    pictures: UInt8[np.ndarray, "batch rows columns 3"]


class Rehearsal(ABC):
    """Runs the protocol under attack with the public model, on prompts that the attacker draws."""

    @abstractmethod
    def runs(self, num_pictures: int, keeps: Keeps) -> Iterator[Rehearsed]:
        """Makes runs of several pictures each, the same ones at every call.

        Args:
            num_pictures: in all.
            keeps: which messages' tensors are wanted; the others would fill the memory.
        """

    @property
    @abstractmethod
    def name(self) -> str:
        """Names protocol, settings, model and clouds: what was learned from it fits all runs of that name."""
