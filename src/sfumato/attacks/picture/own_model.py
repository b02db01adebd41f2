"""The public model in an attacker's hands: it goes on with a latent from any step, with words or without."""

from dataclasses import dataclass, replace
from functools import lru_cache, partial

import torch
from torch import nn

from sfumato.attacks.picture.levels import level_at
from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.models.conditioning import PromptEncoder
from sfumato.models.denoiser import Conditioning, predict
from sfumato.models.entry import Entry
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_unet
from sfumato.models.sampling import Sampling, guided, make_scheduler, sample
from sfumato.tensors import Latent


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnModel:
    """The run's model with the attacker's words for every picture of it."""

    view: RunView
    unet: nn.Module
    conditioning: Conditioning
    are_words_known: bool

    @classmethod
    def of(cls, view: RunView) -> "OwnModel":
        """Takes the text embedding where the transcript holds it, and else no words.

        What SDXL is told beside it is that of no words.

        Raises:
            LacksInput: the run's settings are not known.
        """
        settings = view.known_settings()
        embeds = _seen_embeds(view)
        words = no_words(view, guided=embeds is not None and len(embeds) == 2 * settings.num_pictures)
        if embeds is not None:
            words = replace(words, prompt_embeds=embeds)
        return cls(view=view, unet=loaded(view.model), conditioning=words, are_words_known=embeds is not None)

    @classmethod
    def saying(cls, view: RunView, texts: list[str]) -> "OwnModel":
        """Takes these texts, one a picture, and no negative ones."""
        settings = view.known_settings()
        words = _encoded(view, texts, guided=settings.guidance_scale > 1)
        return cls(view=view, unet=loaded(view.model), conditioning=words, are_words_known=True)

    @torch.no_grad()
    def clean(self, noisy: Latent, timestep: float) -> Latent:
        """The clean latent that the model takes a noisy one for."""
        prediction = predict(self.unet, noisy, torch.tensor(timestep), self.conditioning)
        if len(prediction) == 2 * len(noisy):
            prediction = guided(prediction, self.view.known_settings().guidance_scale)
        return level_at(self.view.model, timestep).clean(noisy, prediction)

    @torch.no_grad()
    def finished(self, noisy: Latent, step: int) -> Latent:
        """Makes the run's last steps as its client does; a solver of several steps starts anew.

        Args:
            noisy: as the U-Net reads it.
            step: the first that is made.
        """
        settings = self.view.known_settings()
        sampling = Sampling(
            scheduler=make_scheduler(self.view.model, settings.scheduler),
            noise=noisy,
            conditioning=self.conditioning,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            generator=torch.Generator().manual_seed(0),
            entry=Entry(step=step),
        )
        *_, last = sample(partial(predict, self.unet), sampling)
        return last.latents


def no_words(view: RunView, *, guided: bool) -> Conditioning:
    """The empty prompt for every picture.

    Args:
        view: of which the settings are read.
        guided: in both halves.
    """
    return _encoded(view, [""] * view.known_settings().num_pictures, guided=guided)


@lru_cache(maxsize=1)
def loaded(model: ModelFolder) -> nn.Module:
    """The U-Net in fp32, kept for the next attack."""
    return load_unet(model)


@lru_cache(maxsize=1)
def _encoder(model: ModelFolder) -> PromptEncoder:
    return PromptEncoder(model)


def _encoded(view: RunView, texts: list[str], *, guided: bool) -> Conditioning:
    size = view.known_settings()
    return _encoder(view.model).encode(
        texts, None, guided=guided, num_images_per_prompt=1, height=size.height, width=size.width
    )


def _seen_embeds(view: RunView) -> torch.Tensor | None:
    pictures = view.known_settings().num_pictures
    try:
        embeds = reader_of(view).text(view).embeds
    except LacksInput:
        return None
    return embeds if embeds is not None and len(embeds) in (pictures, 2 * pictures) else None
