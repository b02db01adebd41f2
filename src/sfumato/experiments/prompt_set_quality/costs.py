"""What each way costs whom: FLOPs counted on the meta device, and bytes of prompt-set's own messages."""

from dataclasses import dataclass
from functools import lru_cache
from statistics import mean

import torch

from sfumato.experiments.prompt_set_quality.device_side import entry_after
from sfumato.experiments.prompt_set_quality.parts import WIRE, first_noise, latent_shape, latent_size
from sfumato.experiments.prompt_set_quality.portrait_prompts import PortraitPrompt
from sfumato.experiments.prompt_set_quality.study import Study
from sfumato.experiments.prompt_set_quality.ways import DEVICE_ONLY, Way
from sfumato.models.counting import unet_layers
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import meta_unet
from sfumato.protocols.prompt_set.acceleration import Acceleration
from sfumato.protocols.prompt_set.candidates import candidate_set
from sfumato.protocols.prompt_set.server_flops import server_flops
from sfumato.protocols.prompt_set.spec import CandidateLatents, Candidates
from sfumato.wire.codec import encoded_size


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one picture."""

    server_flops: int
    client_flops: int
    """Of the device model's U-Net; encoding the prompt and decoding the picture are the same in all ways."""
    sent_bytes: float
    """Client to server, mean over the prompts."""
    received_bytes: float


def cost(study: Study, way: Way, num_candidates: int, device: ModelFolder, prompts: tuple[PortraitPrompt, ...]) -> Cost:
    """Counts one way.

    Args:
        study: its models and steps.
        way: which.
        num_candidates: of the set.
        device: the client's model.
        prompts: over which to take the mean of bytes, all of this number of candidates.
    """
    on_server = way.candidates_on_server(num_candidates)
    num_tokens = int(study.folder.config("text_encoder")["max_position_embeddings"])
    a_step = sum(layer.flops for layer in unet_layers(device, latent_shape(study), 2, num_tokens))
    return Cost(
        server_flops=_served(study, way.acceleration(study.num_inference_steps), on_server, num_tokens),
        client_flops=a_step * num_device_steps(study, way, device),
        sent_bytes=mean(_request_bytes(study, p, on_server) for p in prompts) if on_server else 0,
        received_bytes=_reply_bytes(study, on_server) if on_server else 0,
    )


@lru_cache(maxsize=64)
def _served(study: Study, acceleration: Acceleration | None, on_server: int, num_tokens: int) -> int:
    if acceleration is None:
        return 0
    unet, size = meta_unet(study.folder), latent_size(study)
    steps = server_flops(unet, acceleration, num_candidates=on_server, latent_size=size, num_tokens=num_tokens)
    return sum(step.total for step in steps)


def num_device_steps(study: Study, way: Way, device: ModelFolder) -> int:
    """Steps that are left to the device model."""
    if way.setting is None:
        return study.num_inference_steps if way == DEVICE_ONLY else 0
    return study.num_inference_steps - entry_after(study, way, device).step


def _request_bytes(study: Study, prompt: PortraitPrompt, on_server: int) -> int:
    own = candidate_set(prompt.text, max_candidates=prompt.num_candidates)
    request = Candidates(
        prompts=own.prompts if on_server > 1 else (own.own,),
        negative="",
        has_negative=False,
        is_guided=True,
        guidance_scale=study.guidance_scale,
        scheduler=study.scheduler,
        num_inference_steps=study.num_inference_steps,
        height=study.height,
        width=study.width,
        seed=2**61,
        noise=first_noise(study, [prompt]).to(WIRE),
    )
    return encoded_size(request)


def _reply_bytes(study: Study, on_server: int) -> int:
    reply = CandidateLatents(
        latents=torch.zeros(latent_shape(study, on_server), dtype=WIRE),
        timestep=1.0,
        sigma=1.0,
        prediction_type=str(study.folder.config("scheduler").get("prediction_type", "epsilon")),
        schedule_hash="0" * 64,
        scaling_factor=1.0,
        previous=None,
        previous_sigma=0.0,
    )
    return encoded_size(reply)
