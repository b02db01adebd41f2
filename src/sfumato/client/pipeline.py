"""The pipeline that users call: like diffusers', but the U-Net runs on clouds that nobody has to trust."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self, get_args

import torch
from torch import nn

from sfumato.client.accounting import Accounting
from sfumato.client.catalog import client_half
from sfumato.client.clouds import Clouds, find_clouds, spec_for
from sfumato.client.output import OutputType, pictures_of
from sfumato.client.parts import parts_of
from sfumato.client.private import private_of
from sfumato.client.report import Report
from sfumato.client.sessions import open_sessions
from sfumato.models.conditioning import PromptEncoder
from sfumato.models.decoding import scale_factor
from sfumato.models.folder import ModelFolder, find_model
from sfumato.models.loading import load_decoder, load_unet
from sfumato.models.sampling import Sampling, Step, initial_latents, make_scheduler, require_timesteps
from sfumato.protocols.base import Spec
from sfumato.protocols.client_half import Generation, Private
from sfumato.randomness import fresh_seed, seeded_generator
from sfumato.tensors import Latent
from sfumato.transport.base import Channel, Traffic

Generator = torch.Generator | list[torch.Generator]
OnStepEnd = Callable[["PrivatePipeline", int, torch.Tensor, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class PrivateOutput:
    """Pictures, as ``output_type`` asks for them, and the run's report."""

    images: Any
    """A list of PIL pictures, an array, or a tensor."""
    report: Report


class PrivatePipeline:
    """Text to image, with the U-Net's work on clouds.

    Loads only the weights that the protocol leaves on the client. Use as a context manager, or call :meth:`close`.

    Example:
        >>> with PrivatePipeline.from_pretrained("portraits", clouds=4) as pipe:
        ...     picture = pipe("an old man with a grey beard, at the sea").images[0]
    """

    def __init__(
        self,
        model: ModelFolder,
        spec: Spec,
        clouds: Clouds,
        *,
        torch_dtype: torch.dtype,
        scheduler: str,
        private: Private | None = None,
        denoise_with: Spec | None = None,
    ):
        self.model = model
        self.spec = spec
        self.parts = parts_of(spec, denoise_with)
        """Which clouds follow which protocol."""
        self.traffic: Traffic | None = None
        """What the run under way, or the last one, has carried so far."""
        self.first_latents: Latent | None = None
        """Before the first step; known where steps are followed by a callback."""
        self._clouds = clouds
        self._dtype = torch_dtype
        private = private or private_of(spec, model)
        self._half = client_half(spec, private, denoise_with)
        self._scheduler_name = scheduler
        self._own = private.device_model or model
        make_scheduler(self._own, scheduler)
        self._prompts = PromptEncoder(self._own, torch_dtype)
        self._decoder = load_decoder(self._own, torch_dtype)
        self._unet: nn.Module = load_unet(self._own, self._half.keeps, torch_dtype)

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path,
        *,
        protocol: str | Spec = "strip-split",
        clouds: int | str | Clouds | None = None,
        keys: str | Path | None = None,
        torch_dtype: torch.dtype = torch.float32,
        scheduler: str = "dpm++",
        device_model: str | Path | None = None,
        taxonomy: str | Path | None = None,
        detectors: Sequence[Any] = (),
        denoise_with: Spec | None = None,
    ) -> Self:
        """Loads the client's part of a model and finds the clouds.

        Args:
            name_or_dir: a bundled model, a folder in diffusers' layout, or a hub name.
            protocol: a name, with its default settings, or a spec.
            clouds: how many local cloud processes to start (the default is as many as the spec says);
                ``"host:port,…"`` of running ones, with ``keys``; or an object with ``open_channel``.
            keys: folder made by ``sfumato keys``, for remote clouds.
            torch_dtype: of the weights and the arithmetic on the client.
            scheduler: ddim, dpm++, euler, lcm or plms.
            device_model: the small model that finishes a picture here, for prompt-set; bundled models have one.
            taxonomy: TOML file with more attributes to hide, for prompt-set.
            detectors: that find attributes besides the rules, for prompt-set.
            denoise_with: settings of the protocol that denoises, for ``Homomorphic(denoise_with=…)``.

        Raises:
            ModelError: the model cannot be found, or is incomplete or damaged.
            ValueError: unknown protocol or scheduler, or a number of clouds that the spec does not have.
        """
        model = find_model(name_or_dir)
        spec = spec_for(protocol, clouds)
        private = private_of(spec, model, device_model, taxonomy, detectors)
        found = find_clouds(clouds, spec, model, keys)
        try:
            return cls(
                model,
                spec,
                found,
                torch_dtype=torch_dtype,
                scheduler=scheduler,
                private=private,
                denoise_with=denoise_with,
            )
        except BaseException:
            found.close()
            raise

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        *,
        negative_prompt: str | list[str] | None = None,
        num_inference_steps: int = 30,
        guidance_scale: float = 5.0,
        generator: Generator | None = None,
        seed: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_images_per_prompt: int = 1,
        output_type: OutputType = "pil",
        callback_on_step_end: OnStepEnd | None = None,
    ) -> PrivateOutput:
        """Generates pictures; the arguments mean what they mean in diffusers.

        Args:
            prompt: one, or several for a batch.
            negative_prompt: what to steer away from; one for all, or one each.
            num_inference_steps: denoising steps.
            guidance_scale: above 1, both guidance halves run in one exchange.
            generator: fixes the noise, not the protocol's secrets.
            seed: makes the generator, and is named in the report. Without either the noise comes from the operating
                system: the picture cannot be repeated, and no cloud can find the noise by trying seeds.
            height, width: pixels; the default is the model's own size.
            num_images_per_prompt: pictures for each prompt.
            output_type: ``pil``, ``np`` (bytes, batch height width 3), ``pt`` (0 to 1) or ``latent``.
            callback_on_step_end: called after each step with ``{"latents": …}``, as in diffusers.

        Raises:
            ValueError: arguments that do not fit together.
            SfumatoError: the run failed; no picture is returned.
        """
        started = perf_counter()
        if generator is not None and seed is not None:
            raise ValueError("give a generator or a seed, not both")
        if output_type not in get_args(OutputType):
            raise ValueError(f"output_type must be one of {', '.join(get_args(OutputType))}, got {output_type!r}")
        if seed is not None:
            generator = seeded_generator(seed)
        is_seeded = generator is not None
        size = self._size(height, width)
        prompts = [prompt] if isinstance(prompt, str) else prompt
        accounting = Accounting()
        with accounting.client_work():
            generation = self._generation(
                prompts,
                negative_prompt,
                num_inference_steps,
                guidance_scale,
                generator,
                size,
                num_images_per_prompt,
            )
        sampling = generation.sampling
        self._half.check(self._unet, tuple(sampling.noise.shape), sampling.conditioning.batch)
        self._half.prepare(generation)
        latents, channel = self._run(generation, callback_on_step_end)
        with accounting.client_work():
            images = pictures_of(latents, self._decoder, output_type, self._own.name)
        report = Report(
            model_name=self.model.name,
            model_fingerprint=self.model.unet_fingerprint,
            parts=self.parts,
            seed=seed,
            is_seeded=is_seeded,
            num_inference_steps=num_inference_steps,
            seconds=perf_counter() - started,
            traffic=channel.traffic,
            compute=accounting.compute(
                self._half.unet_work(self._unet, self._own, sampling),
                [self._unet, *self._prompts.encoders, self._decoder],
            ),
            remarks=self._half.remarks(),
        )
        return PrivateOutput(images=images, report=report)

    def _size(self, height: int | None, width: int | None) -> tuple[int, int]:
        config: Any = self._unet.config
        sample = config.sample_size
        rows, columns = (sample, sample) if isinstance(sample, int) else sample
        factor = scale_factor(self._decoder)
        height, width = height or rows * factor, width or columns * factor
        if height <= 0 or width <= 0 or height % factor or width % factor:
            raise ValueError(f"height and width must be positive multiples of {factor}, got {height} and {width}")
        return height, width

    def _generation(
        self,
        prompts: list[str],
        negative: str | list[str] | None,
        num_inference_steps: int,
        guidance_scale: float,
        generator: Generator | None,
        size: tuple[int, int],
        num_images: int,
    ) -> Generation:
        if not prompts or num_images < 1:
            raise ValueError("give at least one prompt and at least one picture a prompt")
        scheduler = make_scheduler(self._own, self._scheduler_name)
        require_timesteps(scheduler, num_inference_steps)
        if not isfinite(guidance_scale):
            raise ValueError(f"guidance_scale must be a finite number, got {guidance_scale}")
        negatives = [negative] * len(prompts) if isinstance(negative, str) else negative
        if negatives is not None and len(negatives) != len(prompts):
            raise ValueError(f"{len(negatives)} negative prompts were given for {len(prompts)} prompts")
        conditioning = self._prompts.encode(
            prompts,
            negatives,
            guided=guidance_scale > 1,
            num_images_per_prompt=num_images,
            height=size[0],
            width=size[1],
        )
        config: Any = self._unet.config
        factor = scale_factor(self._decoder)
        shape = (len(prompts) * num_images, config.in_channels, size[0] // factor, size[1] // factor)
        sampling = Sampling(
            scheduler=scheduler,
            noise=initial_latents(shape, generator, self._dtype),
            conditioning=conditioning,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            # A scheduler's own noise on the way; never torch's default generator, which starts alike in every process.
            generator=generator or seeded_generator(fresh_seed()),
        )
        return Generation(
            sampling=sampling,
            prompts=tuple(prompts),
            negative_prompts=None if negatives is None else tuple(negatives),
            num_images_per_prompt=num_images,
            scheduler=self._scheduler_name,
            height=size[0],
            width=size[1],
        )

    def _run(self, generation: Generation, callback: OnStepEnd | None) -> tuple[Latent, Channel]:
        def on_step(step: Step) -> Latent | None:
            if callback is None:
                return None
            self.first_latents = generation.sampling.noise * generation.sampling.scheduler.init_noise_sigma
            return callback(self, step.index, step.timestep, {"latents": step.latents}).get("latents")

        with self._clouds.open_channel() as channel:
            self.traffic = channel.traffic
            open_sessions(channel, self.parts, self.model.unet_fingerprint)
            return self._half.generate(self._unet, channel, generation, on_step), channel

    def surplus_tokens(self, prompt: str) -> int:
        """How many tokens at the end of a prompt the text encoder does not read."""
        return self._prompts.surplus_tokens(prompt)

    def close(self) -> None:
        """Stops clouds that this pipeline started."""
        self._clouds.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
