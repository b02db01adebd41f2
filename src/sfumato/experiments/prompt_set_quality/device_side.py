"""What the client makes of the server's latents: pictures, by the device model's remaining steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sfumato.experiments.prompt_set_quality.parts import (
    encoded,
    first_noise,
    latent_shape,
    load_parts,
    unpacked,
)
from sfumato.experiments.prompt_set_quality.study import Batch, Study
from sfumato.experiments.prompt_set_quality.ways import DEVICE_ONLY, SERVER_ONLY, Way
from sfumato.experiments.rows import as_png
from sfumato.models.decoding import decode, to_uint8
from sfumato.models.denoiser import predict
from sfumato.models.entry import Entry
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import scaling_factor
from sfumato.models.sampling import Sampling, make_scheduler, sample
from sfumato.protocols.prompt_set.handoff import Handoff, Receiver, entry_of, hand_off
from sfumato.tensors import Latent


@dataclass(frozen=True, kw_only=True)
class PortraitRow:
    """One finished picture and everything that it came from."""

    case: str
    way: str
    num_candidates: int
    prompt_index: int
    prompt: str
    seed: int
    own_index: int
    """Place of the client's own candidate in the set; 0 is the pivot."""
    spec: str | None
    """Of prompt-set, canonical JSON; None where one model makes all steps."""
    model: str
    model_fingerprint: str
    device_model: str
    device_fingerprint: str
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    height: int
    width: int
    server_commit: str | None
    """At which the server's part was computed; None where it has none, or outside a checkout."""
    sfumato: str
    commit: str | None
    torch: str
    picture: bytes
    """PNG."""


@dataclass(frozen=True, kw_only=True)
class Finishing:
    """A batch with what the server made of it."""

    batch: Batch
    device: ModelFolder
    latents: Mapping[str, Sequence[bytes]]
    """By the name of the way, one a prompt."""
    own_indices: Sequence[int]
    server_commits: Sequence[str | None]


def finish(work: Finishing, version: str, commit: str | None) -> list[PortraitRow]:
    """Makes the pictures of some prompts in every way."""
    study, device = work.batch.study, work.device
    return [
        PortraitRow(
            case=study.case(way, prompt, device.unet_fingerprint),
            way=way.name,
            num_candidates=prompt.num_candidates,
            prompt_index=prompt.index,
            prompt=prompt.text,
            seed=prompt.seed,
            own_index=work.own_indices[place],
            spec=None if way.setting is None else way.spec.to_json(),
            model=study.folder.name,
            model_fingerprint=study.model_fingerprint,
            device_model=device.name,
            device_fingerprint=device.unet_fingerprint,
            num_inference_steps=study.num_inference_steps,
            guidance_scale=study.guidance_scale,
            scheduler=study.scheduler,
            height=study.height,
            width=study.width,
            server_commit=None if way == DEVICE_ONLY else work.server_commits[place],
            sfumato=version,
            commit=commit,
            torch=torch.__version__,
            picture=as_png(picture),
        )
        for way in study.painting_ways
        for place, (prompt, picture) in enumerate(zip(work.batch.prompts, _pictures(work, way), strict=True))
    ]


@torch.no_grad()
def _pictures(work: Finishing, way: Way) -> Any:
    study, prompts = work.batch.study, work.batch.prompts
    if way == SERVER_ONLY:
        final = unpacked(work.latents[way.name], study)
        return to_uint8(decode(load_parts(study.folder).decoder, final))
    texts = [p.text for p in prompts]
    if way == DEVICE_ONLY:
        return device_pictures(study, work.device, texts, first_noise(study, prompts), None)
    return device_pictures(study, work.device, texts, unpacked(work.latents[way.name], study), way)


@torch.no_grad()
def device_pictures(study: Study, device: ModelFolder, texts: Sequence[str], latents: Latent, way: Way | None) -> Any:
    """The device model's steps, from noise or from where the server's part of a way ends; and its decoder."""
    unet, _, decoder = load_parts(device)
    sampling = device_sampling(study, device, texts, latents, way)
    for step in sample(partial(predict, unet), sampling):
        latents = step.latents
    return to_uint8(decode(decoder, latents))


def device_sampling(
    study: Study, device: ModelFolder, texts: Sequence[str], latents: Latent, way: Way | None
) -> Sampling:
    """The device model's steps, before they are made."""
    return Sampling(
        scheduler=make_scheduler(device, study.scheduler),
        noise=latents,
        conditioning=encoded(study, texts, device),
        num_inference_steps=study.num_inference_steps,
        guidance_scale=study.guidance_scale,
        entry=None if way is None else entry_after(study, way, device),
    )


def entry_after(study: Study, way: Way, device: ModelFolder) -> Entry:
    """Where the device model takes over from the server's part of a way.

    Raises:
        ValueError: the two models do not fit together.
    """
    receiver = Receiver(
        scheduler=make_scheduler(device, study.scheduler),
        num_inference_steps=study.num_inference_steps,
        num_channels=int(device.config("unet")["in_channels"]),
        scaling_factor=scaling_factor(device),
    )
    return entry_of(_empty_handoff(study, way), receiver)


def _empty_handoff(study: Study, way: Way) -> Handoff:
    """Where the server's part ends, with latents of zeros."""
    scheduler = make_scheduler(study.folder, study.scheduler)
    scheduler.set_timesteps(study.num_inference_steps)
    num_steps, factor = way.spec.acceleration.num_steps, scaling_factor(study.folder)
    return hand_off(scheduler, torch.zeros(latent_shape(study)), num_steps, scaling_factor=factor)
