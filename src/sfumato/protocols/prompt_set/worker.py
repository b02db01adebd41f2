"""The worker half of ``prompt-set``: read the set, and make the first steps for all of it."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from sfumato.errors import ModelError, WireError
from sfumato.models.denoiser import Conditioning
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import scaling_factor
from sfumato.models.sampling import make_scheduler
from sfumato.protocols.base import WorkerHalf
from sfumato.protocols.prompt_set.handoff import hand_off
from sfumato.protocols.prompt_set.server_stage import CandidateRun, run_candidates
from sfumato.protocols.prompt_set.spec import CandidateLatents, Candidates, PromptSet
from sfumato.randomness import seeded_generator
from sfumato.wire.messages import Message

if TYPE_CHECKING:
    from sfumato.models.conditioning import PromptEncoder

_MOST_STEPS = 1000


class PromptSetWorker(WorkerHalf):
    """Makes the server's steps for every prompt of a set, from one noise.

    Run by: worker.
    Reveals: to the client, the latents of all candidates.
    """

    kinds: ClassVar[tuple[type[Message], ...]] = (Candidates,)

    def __init__(self, spec: PromptSet, unet: nn.Module, model: ModelFolder | None):
        if model is None:
            raise ModelError("this cloud serves a U-Net alone: prompt-set needs the whole model folder")
        self._spec = spec
        self._unet = unet
        self._model = model
        self._dtype = next(unet.parameters()).dtype

    @torch.no_grad()
    def handle(self, request: Message) -> CandidateLatents:
        """Runs the server's steps for one picture."""
        if not isinstance(request, Candidates):
            raise WireError(f"prompt-set does not answer {type(request).__name__}")
        self._require_sound(request)
        scheduler = make_scheduler(self._model, request.scheduler)
        prompts, negative = self._read(request)
        acceleration = self._spec.acceleration
        latents = run_candidates(
            self._unet,
            CandidateRun(
                scheduler=scheduler,
                noise=request.noise.to(self._dtype),
                prompts=prompts,
                negative=negative,
                num_inference_steps=request.num_inference_steps,
                guidance_scale=request.guidance_scale,
                acceleration=acceleration,
                generator=seeded_generator(request.seed),
            ),
        )
        done = hand_off(
            scheduler,
            latents,
            acceleration.num_steps,
            scaling_factor=scaling_factor(self._model),
            kind=self._spec.handoff,
        )
        wire = request.noise.dtype
        return CandidateLatents(
            latents=done.latents.to(wire),
            timestep=done.timestep,
            sigma=done.sigma,
            prediction_type=done.prediction_type,
            schedule_hash=done.schedule_hash,
            scaling_factor=done.scaling_factor,
            previous=done.previous.clean.to(wire) if done.previous else None,
            previous_sigma=done.previous.sigma if done.previous else 0.0,
        )

    def _require_sound(self, request: Candidates) -> None:
        config: Any = self._unet.config
        if not 1 <= len(request.prompts) <= self._spec.max_candidates:
            raise WireError(
                f"{len(request.prompts)} candidates came where 1 to {self._spec.max_candidates} were agreed on"
            )
        noise = request.noise
        if noise.shape[0] != 1 or noise.shape[1] != config.in_channels or not noise.is_floating_point():
            raise WireError(
                f"noise of shape {tuple(noise.shape)} came where one row of {config.in_channels} channels was due"
            )
        if not 0 <= request.seed < 2**63 or not 1 <= request.num_inference_steps <= _MOST_STEPS:
            raise WireError(f"seeds are in [0, 2**63) and steps 1 to {_MOST_STEPS}; other values came")
        try:
            self._spec.acceleration.require_within(request.num_inference_steps)
        except ValueError as error:
            raise WireError(str(error)) from error

    def _read(self, request: Candidates) -> tuple[Conditioning, Conditioning | None]:
        """The candidates, a row each, and the negative prompt, one row."""
        encoder = _prompt_encoder(self._model, self._dtype)
        size = {"num_images_per_prompt": 1, "height": request.height, "width": request.width}
        prompts = encoder.encode(list(request.prompts), None, guided=False, **size)
        if not request.is_guided:
            return prompts, None
        negatives = [request.negative] if request.has_negative else None
        return prompts, encoder.encode([""], negatives, guided=True, **size).rows(slice(1))


@lru_cache(maxsize=1)
def _prompt_encoder(model: ModelFolder, dtype: torch.dtype) -> "PromptEncoder":
    """One for all sessions, loaded when the first one needs it; clouds of other protocols never load one."""
    from sfumato.models.conditioning import PromptEncoder

    return PromptEncoder(model, dtype)
