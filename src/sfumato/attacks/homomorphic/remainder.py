"""The encrypted entries from the others: what partial encryption leaves to be guessed.

Source: the layout is HE-Diffusion's (Chen and Yan 2024, arXiv 2403.05794); the attack is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sfumato.attacks.homomorphic.base import PaperAttack, PartlyHidden
from sfumato.attacks.homomorphic.paper_steps import paper_steps
from sfumato.attacks.homomorphic.prior import mean_guess
from sfumato.attacks.homomorphic.stationary import StationaryPrior
from sfumato.attacks.own_latents import own_latents
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.protocols.base import setting
from sfumato.protocols.homomorphic.index_set import Parts


@dataclass(frozen=True, kw_only=True)
class Remainder(PaperAttack):
    """Fills in the encrypted entries of the last latents by their conditional mean, given the entries in the clear.

    It reads neither predictions nor inputs of the U-Net, and so measures the selection alone.

    Run by: attacker.
    """

    name: ClassVar[str] = "remainder"
    needs: ClassVar[str] = "homomorphic, mode=paper: entries of the last latents in the clear"

    samples: int = setting(24, "pictures that the attacker makes itself, to learn how entries depend on each other")

    def run(self, view: RunView) -> PartlyHidden:
        """The last latents."""
        last = paper_steps(view)[-1]
        hidden, public = last.hidden, last.updated_remainder
        if not len(public):
            raise LacksInput("the transcript holds no entry of the last latents in the clear: all are encrypted")
        was_hidden = hidden.mask()
        known = hidden.merge(Parts(torch.zeros(len(hidden)), public.float()))
        prior = StationaryPrior.of(own_latents(view.model, (known.shape[2], known.shape[3]), self.samples))
        latents = [prior.filled_in(one, is_known) for one, is_known in zip(known, ~was_hidden, strict=True)]
        return PartlyHidden(
            latents=torch.stack(latents).float(),
            was_hidden=was_hidden,
            finding=f"{len(hidden)} of {hidden.num_entries} entries were filled in from the others",
        )

    def prior(self, view: RunView) -> PartlyHidden:
        """The mean of the same pictures of its own."""
        return mean_guess(view, self.samples)
