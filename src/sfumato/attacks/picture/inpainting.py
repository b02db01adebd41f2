"""The whole latent from cells that were seen at some noise levels: the public model fills in the rest.

Source: Lugmayr et al. 2022, "RePaint", arXiv 2201.09865, Algorithm 1 with jumps of one step. Known cells are those that
were seen at each level, which belong to one run, and are not noised anew; steps are DDIM's without noise.
"""

from collections.abc import Callable, Mapping, Sequence

import torch

from sfumato.attacks.picture.levels import level_at
from sfumato.attacks.seen.steps import SeenStep
from sfumato.models.folder import ModelFolder
from sfumato.tensors import Latent

Cleaner = Callable[[Latent, float], Latent]
"""Called with noisy latents and a timestep; returns the clean ones that the model takes them for."""


@torch.no_grad()
def inpainted(
    model: ModelFolder,
    clean: Cleaner,
    timesteps: Sequence[float],
    seen: Mapping[int, SeenStep],
    start: Latent,
    *,
    resamplings: int,
    generator: torch.Generator,
) -> Latent:
    """Clean latents that agree with what was seen.

    Args:
        model: public; of it the noise levels are read.
        clean: the public model.
        timesteps: of the run's steps, falling.
        seen: cells by step.
        start: noise for the cells that were not seen at the first step.
        resamplings: how often each step is made; before each time but the first its result is noised again.
        generator: of that noise.

    Raises:
        ValueError: fewer than one resampling.
    """
    if resamplings < 1:
        raise ValueError(f"resamplings must be at least 1, got {resamplings}")
    latents = found = start
    for step, timestep in enumerate(timesteps):
        here = level_at(model, timestep)
        after = level_at(model, timesteps[step + 1]) if step + 1 < len(timesteps) else None
        for again in range(resamplings):
            noisy = _with_seen(latents, seen.get(step))
            found = clean(noisy, timestep)
            latents = after.noised(found, here.noise_of(noisy, found)) if after else found
            if again + 1 < resamplings:
                kept = here.signal / (after.signal if after else 1)
                fresh = torch.randn(latents.shape, generator=generator)
                latents = kept * latents + (1 - kept**2) ** 0.5 * fresh
    return found


def _with_seen(latents: Latent, seen: SeenStep | None) -> Latent:
    return latents if seen is None else torch.where(seen.known, seen.values, latents)
