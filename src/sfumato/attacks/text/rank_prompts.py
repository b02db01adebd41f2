"""Which of several texts was meant: the one under which the public model predicts what was seen.

Source: a diffusion model's denoising error as the likelihood of a class, Li et al. 2023, arXiv 2303.16203 (Diffusion
Classifier); here predictions were seen, so that they are compared and not noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from sfumato.attacks.base import Attack
from sfumato.attacks.guesses import ChoiceGuess, Secret
from sfumato.attacks.seen.catalog import READERS, reader_of
from sfumato.attacks.text.compared import TextModel, compared_steps
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.protocols.base import setting
from sfumato.protocols.prompt_set.spec import PromptSet


@dataclass(frozen=True, kw_only=True)
class RankPrompts(Attack):
    """Runs the public model under every candidate on the latents that were seen, and compares predictions.

    Of a strip the rest of the latent is noise of the step's level: of the first steps it is nothing else. What is
    compared is then the difference of the guidance halves within the strip, in which most of the error that the made-up
    rest brings cancels, with an empty negative prompt; of a cloud that has the prompt's half alone, its prediction. A
    score is the negative squared error relative to what was seen, summed over steps.

    In ``prompt-set`` the candidates are the set, and the noise is told: what is compared is how well each candidate's
    latent is denoised to it under its own text.

    Run by: attacker.
    """

    name: ClassVar[str] = "rank-prompts"
    needs: ClassVar[str] = "latents and predictions, in part or whole, and candidate texts"
    secret: ClassVar[Secret] = Secret.CHOICE

    candidates: int = setting(10, "texts that the attacker holds for possible")
    steps: int = setting(2, "how many of the run's steps are compared, from the first on")
    fills: int = setting(1, "ways in which the rest of a strip is made up")

    @property
    def num_candidates(self) -> int:
        """As set."""
        return self.candidates

    def run(self, view: RunView) -> ChoiceGuess:
        """Scores every candidate of every picture."""
        if isinstance(view.spec, PromptSet):
            return _in_the_set(view)
        texts = _texts(view)
        steps = compared_steps(view, self.steps)
        size = (view.known_settings().height, view.known_settings().width)
        model = TextModel(view.model, [text for each in texts for text in each], size)
        fills = range(1 if all(bool(step.known.all()) for step in steps) else self.fills)
        errors = torch.stack([model.errors(step, texts, fill) for step in steps for fill in fills])
        return ChoiceGuess(
            scores=-errors.double().mean(0).numpy(),
            finding=f"predictions of {len(steps)} steps were compared under {len(texts[0])} texts a picture",
        )

    def prior(self, view: RunView) -> ChoiceGuess:
        """All alike."""
        texts = reader_of(view).prompts(view) if isinstance(view.spec, PromptSet) else _texts(view)
        return ChoiceGuess(scores=np.zeros((len(texts), len(texts[0]))), finding="any of the candidates")

    def keeps(self, kind: str, values: Mapping[str, Any]) -> bool:
        """Latents and predictions."""
        return any(
            reader.keeps(what, kind, values) for reader in READERS.values() for what in ("latents", "predictions")
        )


def _texts(view: RunView) -> tuple[tuple[str, ...], ...]:
    if not view.candidates:
        raise LacksInput("this attack ranks texts that the attacker holds for possible: name some")
    return view.candidates


def _in_the_set(view: RunView) -> ChoiceGuess:
    reader = reader_of(view)
    sets, (told,), noise = reader.prompts(view), reader.latents(view), reader.noise(view)
    if len({len(texts) for texts in sets}) > 1:
        raise LacksInput("the sets of these pictures have several sizes: attack runs of one picture each")
    every = [text for texts in sets for text in texts]
    size = (view.known_settings().height, view.known_settings().width)
    found = TextModel(view.model, every, size).predictions(told.values, told.timestep, every)
    wanted = noise.values.repeat_interleave(len(sets[0]), dim=0)
    errors = (found - wanted).square().flatten(1).mean(1).unflatten(0, (len(sets), len(sets[0])))
    return ChoiceGuess(
        scores=-errors.double().numpy(), finding=f"the {len(sets[0])} latents of a set were denoised each by its text"
    )
