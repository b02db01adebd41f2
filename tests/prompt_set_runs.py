"""Candidate runs on a tiny U-Net, and a cloud that only listens, shared by the tests of prompt-set."""

from collections.abc import Callable
from typing import Any

import torch

from sfumato.models.denoiser import Conditioning, meta_conditioning
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_unet, scaling_factor
from sfumato.models.sampling import make_scheduler
from sfumato.protocols.prompt_set.acceleration import Acceleration
from sfumato.protocols.prompt_set.handoff import hand_off
from sfumato.protocols.prompt_set.server_stage import CandidateRun, run_candidates
from sfumato.protocols.prompt_set.spec import CandidateLatents, Candidates, PromptSet
from sfumato.transport.in_process import InProcessChannel
from sfumato.version import VERSION
from sfumato.wire.codec import encoded_size
from sfumato.wire.messages import Hello, Message, Welcome

SIZE, TOKENS, STEPS = 8, 7, 6


def conditioning(unet, num: int, seed: int) -> Conditioning:
    """Random text of so many rows."""
    shapes = meta_conditioning(unet.config, batch=num, num_tokens=TOKENS)
    generator = torch.Generator().manual_seed(seed)

    def drawn(like):
        return None if like is None else torch.randn(like.shape, generator=generator)

    return Conditioning(
        prompt_embeds=drawn(shapes.prompt_embeds), pooled=drawn(shapes.pooled), time_ids=drawn(shapes.time_ids)
    )


def rows(of: Conditioning, index: list[int]) -> Conditioning:
    return Conditioning(
        prompt_embeds=of.prompt_embeds[index],
        pooled=None if of.pooled is None else of.pooled[index],
        time_ids=None if of.time_ids is None else of.time_ids[index],
    )


class Runs:
    """One U-Net with one noise and three prompts."""

    def __init__(self, model: ModelFolder):
        self.model = model
        self.unet = load_unet(model)
        self.prompts = conditioning(self.unet, 3, seed=5)
        self.negative = conditioning(self.unet, 1, seed=6)
        self.noise = torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(7))

    def __call__(
        self,
        acceleration: Acceleration,
        members=(0, 1, 2),
        *,
        scheduler: str = "dpm++",
        guidance_scale: float = 3.0,
        is_guided: bool = True,
        unet=None,
    ):
        run = CandidateRun(
            scheduler=make_scheduler(self.model, scheduler),
            noise=self.noise,
            prompts=rows(self.prompts, list(members)),
            negative=self.negative if is_guided else None,
            num_inference_steps=STEPS,
            guidance_scale=guidance_scale,
            acceleration=acceleration,
            generator=torch.Generator().manual_seed(8),
        )
        return run_candidates(unet or self.unet, run)


def assert_close(one, other, tolerance=1e-4):
    """To ``tolerance`` of the latents' own scale."""
    assert one.shape == other.shape
    assert (one - other).abs().max() <= tolerance * max(1.0, float(other.abs().max()))


def difference(one, other) -> float:
    """Mean absolute difference, relative to the mean size."""
    return float((one - other).abs().mean() / other.abs().mean())


class ListeningCloud:
    """A cloud that writes down what it is asked, and answers latents of zeros without computing anything."""

    def __init__(self, model: ModelFolder, spec: PromptSet, spoil: Callable[[dict[str, Any]], None] | None = None):
        self._model, self._spec, self._spoil = model, spec, spoil
        self.requests: list[Candidates] = []
        self.sizes: list[int] = []

    def open_channel(self) -> InProcessChannel:
        return InProcessChannel([self._handle])

    def close(self) -> None: ...

    def _handle(self, request: Message) -> Message:
        self.sizes.append(encoded_size(request))
        if isinstance(request, Hello):
            return Welcome(package_version=VERSION, idle_seconds=1.0)
        assert isinstance(request, Candidates)
        self.requests.append(request)
        scheduler = make_scheduler(self._model, request.scheduler)
        scheduler.set_timesteps(request.num_inference_steps)
        zeros = torch.zeros(len(request.prompts), *request.noise.shape[1:])
        done = hand_off(scheduler, zeros, self._spec.acceleration.num_steps, scaling_factor=scaling_factor(self._model))
        values = {
            "latents": zeros.to(request.noise.dtype),
            "timestep": done.timestep,
            "sigma": done.sigma,
            "prediction_type": done.prediction_type,
            "schedule_hash": done.schedule_hash,
            "scaling_factor": done.scaling_factor,
            "previous": None,
            "previous_sigma": 0.0,
        }
        if self._spoil:
            self._spoil(values)
        reply = object.__new__(CandidateLatents)
        for name, value in values.items():
            object.__setattr__(reply, name, value)
        return reply
