"""The picture from what one step says: the clean latent that a latent and its prediction stand for.

Source: Song, Meng and Ermon 2021, DDIM, arXiv 2010.02502, eq. 9, in the model's own kind of prediction; the
rest of a strip is the conditional mean of ``conditional_mean.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sfumato.attacks.base import Attack
from sfumato.attacks.guesses import LatentGuess
from sfumato.attacks.own_latents import own_latents
from sfumato.attacks.picture.conditional_mean import filled_in
from sfumato.attacks.picture.levels import level_at, timestep_of
from sfumato.attacks.picture.sizes import latent_size
from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.seen.keeping import bears_on
from sfumato.attacks.seen.steps import SeenStep, by_step, chosen
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.models.sampling import guided
from sfumato.protocols.base import setting
from sfumato.tensors import Latent


@dataclass(frozen=True, kw_only=True)
class CleanDecode(Attack):
    """Reads the clean latent off where latent and prediction were seen, and takes the likeliest rest.

    Where a coalition has one guidance half only, that half's prediction stands for the guided one.

    Run by: attacker.
    """

    name: ClassVar[str] = "x0-decode"
    needs: ClassVar[str] = "latents and predictions of one step, or parts of them, and the run's settings"

    step: int = setting(-1, "which step is read, from 0; -1: the last of which both were seen")
    samples: int = setting(24, "pictures that the attacker makes itself, to learn how cells depend on each other")

    def run(self, view: RunView) -> LatentGuess:
        """The last latents."""
        reader = reader_of(view)
        predictions = {each.step: each for each in by_step(reader.predictions(view))}
        both = [each for each in by_step(reader.latents(view)) if each.step in predictions]
        seen = chosen(both, self.step)
        known = seen.known & predictions[seen.step].known
        clean = self._clean(view, seen, predictions[seen.step])
        own = own_latents(view.model, (known.shape[0], known.shape[1]), self.samples)
        share = float(known.float().mean())
        return LatentGuess(
            latents=filled_in(clean, known, own),
            finding=f"{share:.0%} of the clean latents at step {seen.step}, the rest their conditional mean",
        )

    def prior(self, view: RunView) -> LatentGuess:
        """The mean of the same pictures of its own."""
        mean = own_latents(view.model, latent_size(view), self.samples).mean(dim=0)
        return LatentGuess(
            latents=mean.expand(view.known_settings().num_pictures, -1, -1, -1),
            finding=f"the mean of {self.samples} pictures of other portraits",
        )

    def keeps(self, kind: str, values: Mapping[str, Any]) -> bool:
        """Latents and predictions."""
        return bears_on(kind, values, "latents", "predictions")

    def _clean(self, view: RunView, seen: SeenStep, predicted: SeenStep) -> Latent:
        prediction, pictures = predicted.values, len(seen.values)
        if len(prediction) == 2 * pictures:
            prediction = guided(prediction, view.known_settings().guidance_scale)
        if len(prediction) != pictures:
            raise LacksInput(f"predictions of {len(prediction)} rows do not belong to {pictures} latents")
        return level_at(view.model, timestep_of(view, seen)).clean(seen.values, prediction)
