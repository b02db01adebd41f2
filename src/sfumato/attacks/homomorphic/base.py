"""Attacks on latents that are encrypted in part."""

from abc import abstractmethod
from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from sfumato.attacks.base import Attack
from sfumato.attacks.guesses import LatentGuess
from sfumato.attacks.view import RunView
from sfumato.protocols.base import Spec
from sfumato.protocols.homomorphic.spec import Homomorphic


@dataclass(frozen=True, kw_only=True, eq=False)
class PartlyHidden(LatentGuess):
    """Latents of which some entries were encrypted."""

    was_hidden: Bool[Tensor, "batch channel height width"]
    """In the last step."""


@dataclass(frozen=True, kw_only=True)
class PaperAttack(Attack):
    """An attack on ``homomorphic`` with ``mode=paper``."""

    @abstractmethod
    def run(self, view: RunView) -> PartlyHidden:
        """Guesses from what was seen."""

    @abstractmethod
    def prior(self, view: RunView) -> PartlyHidden:
        """Guesses from pictures of the attacker's own."""

    def control(self) -> Spec:
        """The cloud denoises, so that it holds every latent but the last."""
        return Homomorphic(mode="paper", denoiser="cloud", accept_plaintext_unet=True)
