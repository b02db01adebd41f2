"""Models, noise and text of a study, as both sides need them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from sfumato.experiments.prompt_set_quality.portrait_prompts import PortraitPrompt
from sfumato.experiments.prompt_set_quality.study import Study
from sfumato.models.conditioning import PromptEncoder
from sfumato.models.denoiser import Conditioning
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_decoder, load_unet
from sfumato.models.sampling import initial_latents
from sfumato.randomness import seeded_generator
from sfumato.tensors import Latent

WIRE = torch.float16
"""Number format of noise and latents on the wire, prompt-set's default."""


class Parts(NamedTuple):
    """A model, loaded."""

    unet: nn.Module
    encoder: PromptEncoder
    decoder: nn.Module


@lru_cache(maxsize=2)
def load_parts(model: ModelFolder) -> Parts:
    """Loads a model, once a process."""
    return Parts(load_unet(model), PromptEncoder(model), load_decoder(model))


def latent_size(study: Study) -> tuple[int, int]:
    """Rows and columns."""
    factor = 2 ** (len(study.folder.config("vae").get("block_out_channels", ())) - 1)
    return study.height // factor, study.width // factor


def latent_shape(study: Study, num: int = 1) -> tuple[int, int, int, int]:
    """Of so many pictures."""
    return (num, int(study.folder.config("unet")["in_channels"]), *latent_size(study))


def first_noise(study: Study, prompts: Sequence[PortraitPrompt]) -> Latent:
    """One row a prompt: what the seed of each gives, rounded as on the wire; the same for all ways."""
    generators = [seeded_generator(p.seed) for p in prompts]
    return initial_latents(latent_shape(study, len(prompts)), generators, torch.float32).to(WIRE).float()


def encoded(study: Study, texts: Sequence[str], model: ModelFolder) -> Conditioning:
    """Both guidance halves, with an empty negative prompt."""
    size = {"num_images_per_prompt": 1, "height": study.height, "width": study.width}
    return load_parts(model).encoder.encode(list(texts), None, guided=True, **size)


def packed(latents: Latent) -> bytes:
    """Latents in the format of the wire."""
    return latents.to(WIRE).numpy().tobytes()


def unpacked(rows: Sequence[bytes], study: Study) -> Latent:
    """Latents that were packed, one a row."""
    shape = latent_shape(study, len(rows))
    return torch.from_numpy(np.stack([np.frombuffer(row, np.float16) for row in rows]).reshape(shape)).float()
