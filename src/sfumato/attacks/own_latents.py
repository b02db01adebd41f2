"""Latents that an attacker makes itself with the public model: what it knows before it reads a transcript."""

from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import platformdirs
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sfumato.files import write_whole
from sfumato.models.conditioning import PromptEncoder
from sfumato.models.denoiser import predict
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_unet
from sfumato.models.sampling import Sampling, make_scheduler, sample
from sfumato.portraits import caption, draw_attributes
from sfumato.randomness import seeded_generator
from sfumato.tensors import Latent

_STEPS, _SCHEDULER, _GUIDANCE = 15, "dpm++", 5.0
_TOGETHER = 8
"""Pictures in one call of the U-Net."""
_KIND = f"portraits-{_SCHEDULER}-{_STEPS}-{_GUIDANCE:g}"
"""Names what the latents are of; another way to make them needs another name."""


def own_latents(model: ModelFolder, size: tuple[int, int], num: int) -> Latent:
    """Clean latents of pictures that the model makes from captions of portraits, no two alike.

    They are kept in the user's cache, for the next attack on a run of the same model and size.

    Args:
        model: public.
        size: rows and columns of a latent.
        num: how many.

    Raises:
        ValueError: fewer than one.
        ModelError: the model is incomplete or damaged.
    """
    if num < 1:
        raise ValueError(f"the attacker makes 1 picture of its own or more, got {num}")
    folder = Path(platformdirs.user_cache_dir("sfumato")) / "attacks"
    path = folder / f"{model.unet_fingerprint[:32]}-{size[0]}x{size[1]}-{num}-{_KIND}.safetensors"
    if (kept := _kept(path)) is not None:
        return kept
    latents = _made(model, size, num)
    with suppress(OSError):  # a read-only or full cache costs time, not correctness
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, lambda stream: stream.write(save({"latents": latents})))
    return latents


def _kept(path: Path) -> Tensor | None:
    try:
        return load_file(path)["latents"]
    except (OSError, SafetensorError, KeyError):
        return None


@torch.no_grad()
def _made(model: ModelFolder, size: tuple[int, int], num: int) -> Latent:
    generator = np.random.default_rng(0)
    prompts = [caption(draw_attributes(generator), generator) for _ in range(num)]
    encoder, unet = PromptEncoder(model), load_unet(model)
    factor = 2 ** (len(model.config("vae")["block_out_channels"]) - 1)
    noise = torch.randn(num, model.config("unet")["in_channels"], *size, generator=seeded_generator(0))
    made = []
    for start in range(0, num, _TOGETHER):
        some = slice(start, start + _TOGETHER)
        conditioning = encoder.encode(
            prompts[some],
            None,
            guided=True,
            num_images_per_prompt=1,
            height=factor * size[0],
            width=factor * size[1],
        )
        sampling = Sampling(
            scheduler=make_scheduler(model, _SCHEDULER),
            noise=noise[some],
            conditioning=conditioning,
            num_inference_steps=_STEPS,
            guidance_scale=_GUIDANCE,
        )
        *_, last = sample(partial(predict, unet), sampling)
        made.append(last.latents)
    return torch.cat(made)
