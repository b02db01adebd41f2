"""The picture from predictions in the clear: the flaw of the published layout, whatever is encrypted beside them.

Source: the update is HE-Diffusion's (Chen and Yan 2024, arXiv 2403.05794); the attack is ours, see
``protocols/homomorphic/disclosure.py``.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sfumato.attacks.homomorphic.base import PaperAttack, PartlyHidden
from sfumato.attacks.homomorphic.paper_steps import PaperStep, known_updates, paper_steps
from sfumato.attacks.homomorphic.prior import mean_guess
from sfumato.attacks.view import RunView
from sfumato.models.denoiser import Conditioning, predict
from sfumato.models.loading import load_unet
from sfumato.models.sampling import guided
from sfumato.protocols.base import setting
from sfumato.protocols.homomorphic.disclosure import Seen, first_noise, last_latents
from sfumato.protocols.homomorphic.updates import LinearUpdate
from sfumato.protocols.readable import Condition
from sfumato.tensors import Latent


@dataclass(frozen=True, kw_only=True)
class Predictions(PaperAttack):
    """Finds the noise that makes the predictions of all steps agree, and with it the last latents.

    Where the cloud denoises, predictions are its own, and every latent but the last came to it in the clear: it makes
    the last step itself.

    Run by: attacker.
    """

    name: ClassVar[str] = "predictions"
    needs: ClassVar[str] = "homomorphic, mode=paper: predictions in the clear, or inputs of the U-Net"

    use_remainder: bool = setting(True, "also read the entries that are in the clear; false: predictions alone")
    samples: int = setting(24, "pictures that the attacker makes itself, to guess without the transcript")

    def run(self, view: RunView) -> PartlyHidden:
        """The last latents, up to what the predictions leave open."""
        steps = paper_steps(view)
        updates = known_updates(steps, view.model)
        if steps[0].prediction is None:
            return _guess(steps, _finished(view, steps, updates), "the last step was made again by the attacker")
        seen = [self._seen(step) for step in steps]
        prediction_type = view.model.config("scheduler").get("prediction_type", "epsilon")
        noise = first_noise(updates, seen, prediction_type)
        source = "predictions and entries in the clear" if self.use_remainder else "predictions alone"
        return _guess(steps, last_latents(updates, seen, noise), f"the first noise was estimated from {source}")

    def prior(self, view: RunView) -> PartlyHidden:
        """The mean of pictures of its own."""
        return mean_guess(view, self.samples)

    def _seen(self, step: PaperStep) -> Seen:
        assert step.prediction is not None, "the cloud denoises in all steps or in none"
        is_public = ~step.hidden.mask() & self.use_remainder
        latent = torch.zeros(step.hidden.shape, dtype=torch.float64)
        if self.use_remainder:
            latent[is_public] = step.remainder.double()
        return Seen(prediction=step.prediction.double(), is_public=is_public, latent=latent)


def _guess(steps: tuple[PaperStep, ...], latents: Latent, finding: str) -> PartlyHidden:
    return PartlyHidden(latents=latents.float(), was_hidden=steps[-1].hidden.mask(), finding=finding)


@torch.no_grad()
def _finished(view: RunView, steps: tuple[PaperStep, ...], updates: tuple[LinearUpdate, ...]) -> Latent:
    """Runs the public U-Net as the cloud did, on the inputs that the last update combines, and makes it."""
    (told,) = view.entries(Condition.__name__)
    embeds = told.tensors["prompt_embeds"]
    assert embeds is not None
    conditioning = Conditioning(prompt_embeds=embeds, pooled=told.tensors["pooled"], time_ids=told.tensors["time_ids"])
    unet = load_unet(view.model)
    last = updates[-1]
    latents = torch.zeros(steps[-1].hidden.shape, dtype=torch.float64)
    for step, coefficient in zip(steps, last.coefficients, strict=True):
        if coefficient:
            assert step.unet_input is not None
            found = predict(unet, step.unet_input, torch.tensor(step.timestep), conditioning)
            is_guided = len(found) == 2 * len(latents)
            latents += coefficient * (guided(found, step.guidance_scale) if is_guided else found).double()
    assert steps[-1].unet_input is not None
    return latents + last.factor * steps[-1].unet_input.double() / last.input_scale
