"""Predictions of the public model under candidate texts, beside the predictions that were seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sfumato.attacks.seen.base import Half, SeenMap, assembled
from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.models.conditioning import PromptEncoder
from sfumato.models.denoiser import Conditioning, predict
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_unet
from sfumato.models.sampling import make_scheduler
from sfumato.randomness import seeded_generator
from sfumato.tensors import GuidedPrediction, Latent

_TOGETHER = 32
"""Rows in one call of the U-Net."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedStep:
    """One step, as a coalition saw it."""

    timestep: float
    latents: Latent
    """Zero where nobody saw them."""
    known: Bool[Tensor, "height width"]
    prediction: Latent
    """What the text decides of it; zero where nobody saw it."""
    predicted: Bool[Tensor, "height width"]
    is_difference: bool
    """The prediction is the prompt's less the negative prompt's."""


def compared_steps(view: RunView, number: int) -> list[ComparedStep]:
    """The first steps of a run.

    Raises:
        LacksInput: no latents, predictions or timesteps, or only the negative prompt's predictions.
    """
    reader = reader_of(view)
    latents, predictions = reader.latents(view), reader.predictions(view)
    steps = sorted({each.step for each in predictions})[:number]
    if not steps:
        raise LacksInput("the run ended before its first prediction: record one that was finished")
    return [_step([e for e in latents if e.step == step], [e for e in predictions if e.step == step]) for step in steps]


def _step(latents: Sequence[SeenMap], predictions: Sequence[SeenMap]) -> ComparedStep:
    if math.isnan(latents[0].timestep):
        raise LacksInput("this attack needs the run's steps and scheduler: say them with the recording")
    if predictions[0].half is Half.NEGATIVE:
        raise LacksInput("these clouds predict for the negative prompt only, which tells nothing of the prompt")
    values, known = assembled(latents)
    told, predicted = assembled(predictions)
    # Of the whole latent the prompt's own prediction can be made again, whatever the negative prompt is.
    has_halves = len(told) == 2 * len(values)
    is_difference = has_halves and not bool(known.all())
    if has_halves:
        negative, positive = told.chunk(2)
        told = positive - negative if is_difference else positive
    return ComparedStep(
        timestep=latents[0].timestep,
        latents=values,
        known=known,
        prediction=told,
        predicted=predicted,
        is_difference=is_difference,
    )


class TextModel:
    """The public model, told any text.

    Args:
        model: public.
        texts: that will be asked for.
        size: rows and columns of the pictures.
    """

    def __init__(self, model: ModelFolder, texts: Sequence[str], size: tuple[int, int]):
        every = list(dict.fromkeys(["", *texts]))
        encoder = PromptEncoder(model)
        self._places = {text: place for place, text in enumerate(every)}
        self._told = encoder.encode(every, None, guided=False, num_images_per_prompt=1, height=size[0], width=size[1])
        self._unet = load_unet(model)
        self._schedule = make_scheduler(model, "ddim").alphas_cumprod

    @torch.no_grad()
    def predictions(self, latents: Latent, timestep: float, texts: Sequence[str]) -> GuidedPrediction:
        """One for each row, under its own text."""
        rows = torch.tensor([self._places[text] for text in texts])
        found = [
            predict(self._unet, some, torch.tensor(timestep), _rows(self._told, places))
            for some, places in zip(latents.split(_TOGETHER), rows.split(_TOGETHER), strict=True)
        ]
        return torch.cat(found)

    def filled(self, step: ComparedStep, fill: int) -> Latent:
        """Latents whose unseen part is noise of the step's level, the same for all pictures."""
        if bool(step.known.all()):
            return step.latents
        noise = torch.randn(step.latents.shape[1:], generator=seeded_generator(fill))
        level = (1 - self._schedule[round(step.timestep)]).sqrt()
        return torch.where(step.known, step.latents, level * noise)

    def errors(
        self, step: ComparedStep, texts: Sequence[Sequence[str]], fill: int
    ) -> Float[Tensor, "picture candidate"]:
        """Squared error of the prediction under each candidate, relative to what was seen."""
        latents, number = self.filled(step, fill), len(texts[0])
        under = self.predictions(
            latents.repeat_interleave(number, dim=0), step.timestep, [text for each in texts for text in each]
        ).unflatten(0, (len(latents), number))
        if step.is_difference:
            under = under - self.predictions(latents, step.timestep, [""] * len(latents))[:, None]
        away = ((under - step.prediction[:, None]).square() * step.predicted).flatten(2).sum(2)
        return away / step.prediction.square().flatten(1).sum(1)[:, None]


def _rows(told: Conditioning, places: Tensor) -> Conditioning:
    return replace(
        told,
        prompt_embeds=told.prompt_embeds[places],
        pooled=None if told.pooled is None else told.pooled[places],
        time_ids=None if told.time_ids is None else told.time_ids[places],
    )
