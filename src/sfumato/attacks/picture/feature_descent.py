"""The whole latent from features of a part of one layer, step by step, with the public diffusion model as the prior.

The attacker follows the run: it begins with noise of its own, moves it until the public U-Net has the features that
were seen at this step, makes the sampler's step, and goes on from there. What features leave open is the model's.

It takes the negative prompt to be empty, which is the default: of the features it reads that half, which then depends
on nothing but the latent. Where only the prompt's half was seen, it reads that one, with the text where the transcript
holds it and else without words.

Source: gradients towards a measurement between denoising steps are Chung et al. 2023, "Diffusion Posterior Sampling",
arXiv 2209.14687, Algorithm 1; features as the measurement, and a public diffusion model as the prior, are "Unlocking
Visual Secrets", Algorithm 1. Here every step has a measurement of its own, so gradients are taken at the noisy latent.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sfumato.attacks.base import Attack
from sfumato.attacks.draws import generator_for
from sfumato.attacks.guesses import LatentGuess
from sfumato.attacks.learned.lessons import MID_LAYER
from sfumato.attacks.picture.levels import level_at, timestep_of, timesteps_of
from sfumato.attacks.picture.other_pictures import other_pictures
from sfumato.attacks.picture.own_model import OwnModel, no_words
from sfumato.attacks.picture.sizes import latent_size
from sfumato.attacks.seen.base import Half
from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.seen.keeping import bears_on
from sfumato.attacks.seen.steps import SeenStep, by_step
from sfumato.attacks.view import RunView
from sfumato.models.denoiser import Conditioning, predict
from sfumato.protocols.base import setting
from sfumato.tensors import FeatureMap, Latent


@dataclass(frozen=True, kw_only=True)
class FeatureDescent(Attack):
    """Moves each step's latent by Adam until its features are those seen, in the cells that were seen.

    Run by: attacker.
    """

    name: ClassVar[str] = "prior-inversion"
    needs: ClassVar[str] = "features of one layer at every step, and the run's settings"
    is_slow: ClassVar[bool] = True

    layer: str = setting(MID_LAYER, "the U-Net's layer whose input is matched, by its path")
    iterations: int = setting(20, "steps of Adam at each step of the run")
    learning_rate: float = setting(0.05, "of Adam")
    samples: int = setting(24, "pictures that the attacker makes itself, to guess without the transcript")
    seed: int = setting(0, "of the attacker's noise")

    def run(self, view: RunView) -> LatentGuess:
        """The last latents."""
        steps = {each.step: each for each in by_step(reader_of(view).features(view, self.layer))}
        own, timesteps = OwnModel.of(view), timesteps_of(view)
        shape = (view.known_settings().num_pictures, view.model.config("unet")["in_channels"], *latent_size(view))
        latents = torch.randn(shape, generator=generator_for("prior inversion", self.seed))
        clean = latents
        for step, timestep in enumerate(timesteps):
            if step in steps:
                latents = self._matched(own, latents, steps[step])
            clean = own.clean(latents, timestep)
            if step + 1 < len(timesteps):
                noise = level_at(view.model, timestep).noise_of(latents, clean)
                latents = level_at(view.model, timesteps[step + 1]).noised(clean, noise)
        share = float(next(iter(steps.values())).known.float().mean())
        return LatentGuess(latents=clean, finding=f"latents that have what was seen of {self.layer}, {share:.0%} of it")

    def prior(self, view: RunView) -> LatentGuess:
        """Pictures of its own, a different one for each."""
        return LatentGuess(latents=other_pictures(view, self.samples, self.seed), finding="pictures of other portraits")

    def keeps(self, kind: str, values: Mapping[str, Any]) -> bool:
        """One layer's features, and the text."""
        return bears_on(kind, values, self.layer, "text")

    def _matched(self, own: OwnModel, latents: Latent, seen: SeenStep) -> Latent:
        """Latents whose features are nearer to those seen."""
        wanted, words = _half(own, seen)
        timestep = torch.tensor(timestep_of(own.view, seen))
        moved = latents.clone().requires_grad_()
        adam = torch.optim.Adam([moved], lr=self.learning_rate)
        for _ in range(self.iterations):
            adam.zero_grad()
            found = features_of(own.unet, self.layer, moved, timestep, words)
            _distance(found, wanted, seen.known).sum().backward()
            adam.step()
        return moved.detach()


def _half(own: OwnModel, seen: SeenStep) -> tuple[FeatureMap, Conditioning]:
    """The rows of one guidance half, and its words."""
    pictures = own.view.known_settings().num_pictures
    if seen.half is Half.PROMPT or (len(seen.values) == pictures and seen.half is Half.BOTH):
        return seen.values, own.conditioning.rows(slice(-pictures, None))
    return seen.values[:pictures], no_words(own.view, guided=False)


def _distance(found: FeatureMap, wanted: FeatureMap, known: Bool[Tensor, "height width"]) -> Float[Tensor, " batch"]:
    """Mean square over known cells, each channel in units of its own deviation there."""
    there = wanted[..., known]
    scale = there.std((0, 2), correction=0).clamp_min(1e-3)[:, None]
    return ((found[..., known] - there) / scale).square().mean((1, 2))


class _Reached(Exception):
    """The layer was reached; what follows is not computed."""


def features_of(
    unet: nn.Module, layer: str, latents: Latent, timestep: Tensor, words: Conditioning
) -> Float[Tensor, "rows feature map_height map_width"]:
    """The input of a layer, with a gradient."""
    found: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:  # noqa: ARG001
        found.append(inputs[0])
        raise _Reached

    with unet.get_submodule(layer).register_forward_pre_hook(note), suppress(_Reached):
        predict(unet, latents, timestep, words)
    return found[0]
