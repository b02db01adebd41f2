"""The seam that attacks on recorded runs are written to."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sfumato.attacks.guesses import Guess, Secret
from sfumato.attacks.view import RunView
from sfumato.protocols.base import Spec
from sfumato.protocols.plain.spec import Plain


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """One idea; its fields are its settings. It writes a guess and never judges it."""

    name: ClassVar[str]
    needs: ClassVar[str]
    """What it works on, in a few words."""
    secret: ClassVar[Secret] = Secret.PICTURE
    is_slow: ClassVar[bool] = False
    """It optimises for each picture, so fewer of them are tried."""

    @property
    def num_candidates(self) -> int:
        """How many texts the attacker holds for possible, for attacks that choose among them."""
        return 10

    @property
    def num_earlier(self) -> int:
        """How many other runs of the same prompts it pools with the one under attack."""
        return 0

    @abstractmethod
    def run(self, view: RunView) -> Guess:
        """Guesses from what was seen.

        Run by: attacker.

        Raises:
            LacksInput: the view does not hold what the attack works on; says what is missing.
        """

    @abstractmethod
    def prior(self, view: RunView) -> Guess:
        """Guesses without the transcript: from the public model, and the sizes of the pictures.

        Run by: attacker.
        """

    def keeps(self, kind: str, values: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Whether it reads the tensors of a message, by its kind and plain fields (the seam ``wire.selection.Keeps``);
        of runs made for it, others are not kept.
        """
        return True

    def control(self) -> Spec:
        """A protocol that hides nothing of what this attack looks for: there it must succeed, or it says nothing."""
        return Plain()
