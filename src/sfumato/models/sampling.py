"""The one sampler of all step-wise protocols, around diffusers' schedulers."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sfumato.errors import ModelError
from sfumato.models.denoiser import Conditioning, Denoiser
from sfumato.models.entry import Entry, enter
from sfumato.models.folder import ModelFolder
from sfumato.randomness import unsearchable_noise
from sfumato.tensors import GuidedPrediction, Latent

SchedulerName = Literal["ddim", "dpm++", "euler", "lcm", "plms"]
SCHEDULERS: dict[str, str] = {
    "ddim": "DDIMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "lcm": "LCMScheduler",
    "plms": "PNDMScheduler",
}

_DEFAULTS: dict[str, dict[str, Any]] = {
    # DDIM's own default clips predicted latents to [-1, 1], which is for models of pixels; diffusers' pipelines turn it
    # off for latents, but not in schedulers that are made beside them.
    "ddim": {"clip_sample": False},
    # Without these PNDM begins with Runge-Kutta steps, which Stable Diffusion's PLMS does not have.
    "plms": {"skip_prk_steps": True},
}


def make_scheduler(model: ModelFolder, name: str) -> Any:
    """Makes a diffusers scheduler over the model's own noise schedule.

    Raises:
        ValueError: unknown name; lists the known ones.
        ModelError: the model's scheduler configuration is damaged.
    """
    if name not in SCHEDULERS:
        raise ValueError(f"no scheduler {name!r}: choose one of {', '.join(get_args(SchedulerName))}")
    import diffusers

    try:
        return getattr(diffusers, SCHEDULERS[name]).from_config(_DEFAULTS.get(name, {}) | model.config("scheduler"))
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ModelError(f"model {model.name!r} has a scheduler configuration that {name} cannot use") from error


def require_timesteps(scheduler: Any, num_inference_steps: int) -> None:
    """Sets a scheduler's timesteps, and refuses none, and so many that some are beyond the noise schedule.

    Raises:
        ValueError: too few steps, or too many.
    """
    if num_inference_steps < 1:
        raise ValueError(f"num_inference_steps must be at least 1, got {num_inference_steps}")
    scheduler.set_timesteps(num_inference_steps)
    most = scheduler.config.num_train_timesteps
    if float(max(scheduler.timesteps)) >= most:
        raise ValueError(
            f"{num_inference_steps} steps reach beyond the model's {most} noise levels: use fewer, such as 50"
        )


@dataclass(frozen=True, kw_only=True)
class Step:
    """One finished denoising step."""

    index: int
    timestep: Tensor
    latents: Latent


def initial_latents(
    shape: tuple[int, int, int, int],
    generator: torch.Generator | list[torch.Generator] | None,
    dtype: torch.dtype,
) -> Latent:
    """Draws unit Gaussian noise: from the operating system without a generator, and else as diffusers does.

    Args:
        shape: batch first.
        generator: one for the batch, or one a picture; None for noise that no cloud can find from its own rows.
        dtype: of the noise.

    Raises:
        ValueError: a list of generators whose length is not the batch.
    """
    if generator is None:
        return unsearchable_noise(shape).to(dtype)
    if not isinstance(generator, list):
        return torch.randn(shape, generator=generator, dtype=dtype)
    if len(generator) != shape[0]:
        raise ValueError(f"generator must hold one generator a picture: {shape[0]} pictures, got {len(generator)}")
    return torch.cat([torch.randn((1, *shape[1:]), generator=g, dtype=dtype) for g in generator])


def guided(prediction: GuidedPrediction, guidance_scale: float) -> Latent:
    """Classifier-free guidance over a prediction whose first half is the negative prompt's.

    Source: Ho and Salimans 2022, arXiv 2207.12598, eq. 6, in diffusers' parametrisation of the scale.
    """
    negative, positive = prediction.chunk(2)
    return negative + guidance_scale * (positive - negative)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Everything about one generation that the sampler needs; it stays on the client."""

    scheduler: Any
    """A diffusers scheduler; its timesteps are set when sampling starts."""
    noise: Latent
    """Unit Gaussian, batch b; with an entry, latents as the U-Net sees them there."""
    conditioning: Conditioning
    """Batch b without guidance, 2b with it."""
    num_inference_steps: int
    guidance_scale: float
    generator: torch.Generator | list[torch.Generator] | None = None
    """For schedulers that add noise on the way (LCM)."""
    entry: Entry | None = None
    """Where to begin; None for the first step, with noise."""


def sample(
    denoiser: Denoiser, sampling: Sampling, on_step: Callable[[Step], Latent | None] | None = None
) -> Iterator[Step]:
    """Denoises, one step a yield; the last step's latents are the result. Who stops earlier has the first steps.

    Args:
        denoiser: local or remote.
        sampling: what to sample.
        on_step: sees each step before it is yielded; latents that it returns replace the step's.
    """
    scheduler, entry = sampling.scheduler, sampling.entry
    scheduler.set_timesteps(sampling.num_inference_steps)
    latents = enter(scheduler, sampling.noise, entry) if entry else sampling.noise * scheduler.init_noise_sigma
    accepts = inspect.signature(scheduler.step).parameters
    extra = {"generator": sampling.generator} if "generator" in accepts else {}
    first = entry.step if entry else 0
    for index, timestep in enumerate(scheduler.timesteps[first:], start=first):
        scaled = scheduler.scale_model_input(latents, timestep)
        prediction = denoiser(scaled, timestep, sampling.conditioning)
        if sampling.conditioning.batch == 2 * latents.shape[0]:
            prediction = guided(prediction, sampling.guidance_scale)
        latents = scheduler.step(prediction, timestep, latents, return_dict=False, **extra)[0]
        step = Step(index=index, timestep=timestep, latents=latents)
        if on_step and (replaced := on_step(step)) is not None:
            latents = replaced
            step = Step(index=index, timestep=timestep, latents=latents)
        yield step
