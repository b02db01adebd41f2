"""The run finished by a cloud: from the latent that it saw at one step the public model goes on.

A whole latent is finished as the client finishes it. Of a strip the rest is filled in, with the strip held to what was
seen of it at every step. Of ``prompt-set`` one candidate of each picture is finished; which one was meant is another
attack's question.

Source: the idea is ours; filling in is Lugmayr et al. 2022, "RePaint", arXiv 2201.09865.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

import torch

from sfumato.attacks.base import Attack
from sfumato.attacks.draws import generator_for
from sfumato.attacks.guesses import LatentGuess
from sfumato.attacks.picture.inpainting import inpainted
from sfumato.attacks.picture.levels import timestep_of, timesteps_of
from sfumato.attacks.picture.other_pictures import other_pictures
from sfumato.attacks.picture.own_model import OwnModel
from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.seen.keeping import bears_on
from sfumato.attacks.seen.steps import SeenStep, by_step, chosen
from sfumato.attacks.view import RunView
from sfumato.protocols.base import setting
from sfumato.tensors import Latent


@dataclass(frozen=True, kw_only=True)
class FinishDenoising(Attack):
    """Goes on with the public model from what was seen of the latent, with the text where the transcript holds it.

    The guess is one picture that the model makes, not the mean of many.

    Run by: attacker.
    """

    name: ClassVar[str] = "finish-denoising"
    needs: ClassVar[str] = "latents that the U-Net read, or a part of them, and the run's settings"

    step: int = setting(-1, "the last step whose latent is used, from 0; -1: the last that was seen")
    resamplings: int = setting(3, "of a part: how often each step is made, with fresh noise in between")
    samples: int = setting(24, "pictures that the attacker makes itself, to guess without the transcript")
    seed: int = setting(0, "of the attacker's noise")

    def run(self, view: RunView) -> LatentGuess:
        """The last latents."""
        reader, pictures = reader_of(view), view.known_settings().num_pictures
        steps = by_step(reader.latents(view))
        last = chosen(steps, self.step)
        if len(last.values) > pictures:
            return self._of_candidates(view, last)
        own = OwnModel.of(view)
        words = "with the text" if own.are_words_known else "without words"
        if last.is_whole:
            latents = own.finished(last.values, _place(view, last))
            return LatentGuess(latents=latents, finding=f"finished from the latent of step {last.step}, {words}")
        latents = self._filled_in(view, own, [each for each in steps if each.step <= last.step])
        share = float(last.known.float().mean())
        return LatentGuess(
            latents=latents,
            finding=f"finished from {share:.0%} of the latents up to step {last.step}, the rest filled in, {words}",
        )

    def prior(self, view: RunView) -> LatentGuess:
        """Pictures of its own, a different one for each."""
        return LatentGuess(latents=other_pictures(view, self.samples, self.seed), finding="pictures of other portraits")

    def keeps(self, kind: str, values: Mapping[str, Any]) -> bool:
        """Latents and text."""
        return bears_on(kind, values, "latents", "text", "prompts")

    def _filled_in(self, view: RunView, own: OwnModel, steps: Sequence[SeenStep]) -> Latent:
        generator = generator_for("filling in", self.seed)
        return inpainted(
            view.model,
            own.clean,
            timesteps_of(view),
            {_place(view, each): each for each in steps},
            torch.randn(steps[0].values.shape, generator=generator),
            resamplings=self.resamplings,
            generator=generator,
        )

    def _of_candidates(self, view: RunView, last: SeenStep) -> LatentGuess:
        """Rows are the first picture's candidates, then the second's."""
        texts = reader_of(view).prompts(view)
        drawn = drawn_places([len(told) for told in texts], self.seed)
        starts = accumulate((len(told) for told in texts[:-1]), initial=0)
        latents = last.values[[start + place for start, place in zip(starts, drawn, strict=True)]]
        own = OwnModel.saying(view, [told[place] for told, place in zip(texts, drawn, strict=True)])
        return LatentGuess(
            latents=own.finished(latents, _place(view, last)),
            finding=f"one candidate of each picture, drawn by chance, finished from the latent of step {last.step}",
        )


def drawn_places(sizes: Sequence[int], seed: int) -> list[int]:
    """A place in each of several lists, all as likely.

    Args:
        sizes: of the lists.
        seed: of the attack.
    """
    generator = generator_for("candidate", seed)
    return [int(torch.randint(size, (), generator=generator)) for size in sizes]


def _place(view: RunView, seen: SeenStep) -> int:
    """The step of the run's own schedule that begins nearest to what was seen."""
    timestep = timestep_of(view, seen)
    distances = [abs(each - timestep) for each in timesteps_of(view)]
    return distances.index(min(distances))
