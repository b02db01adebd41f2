"""What the server makes of a prompt, each way: latents that are kept, so that any device model may finish them.

Two savings, both exact to rounding. Without map reuse no candidate touches another, so the client's own candidate runs
alone; with it a candidate depends on itself and on the pivot only, so these two run. And a run that saves nothing is
the beginning of the server's own run of all steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from sfumato.experiments.prompt_set_quality.parts import encoded, first_noise, load_parts, packed
from sfumato.experiments.prompt_set_quality.portrait_prompts import PortraitPrompt
from sfumato.experiments.prompt_set_quality.study import Batch, Study
from sfumato.experiments.prompt_set_quality.ways import DEVICE_ONLY, Way
from sfumato.models.denoiser import predict
from sfumato.models.noise_levels import latent_scale
from sfumato.models.sampling import Sampling, make_scheduler, sample
from sfumato.protocols.prompt_set.acceleration import Acceleration
from sfumato.protocols.prompt_set.candidates import CandidateSet, candidate_set
from sfumato.protocols.prompt_set.candidates.candidate_set import PIVOT
from sfumato.protocols.prompt_set.server_stage import CandidateRun, run_candidates
from sfumato.tensors import Latent


@dataclass(frozen=True, kw_only=True)
class LatentRow:
    """Where the client's own candidate stands when the server has done its part in one way."""

    case: str
    way: str
    num_candidates: int
    prompt_index: int
    prompt: str
    own_index: int
    """Place of its own candidate in the set; 0 is the pivot."""
    sfumato: str
    commit: str | None
    torch: str
    latents: bytes
    """In the format of the wire, as the U-Net sees them."""


def served_ways(study: Study) -> tuple[Way, ...]:
    """Ways in which the server makes something of its own."""
    return tuple(way for way in study.painting_ways if way != DEVICE_ONLY)


def serve(batch: Batch, version: str, commit: str | None) -> list[LatentRow]:
    """Makes the server's part of some prompts in every way."""
    study = batch.study
    sets = [candidate_set(p.text, max_candidates=p.num_candidates) for p in batch.prompts]
    found = _whole_runs(study, batch.prompts, sets)
    for way in served_ways(study):
        if way not in found:
            found[way] = torch.cat([own_latents(study, way, *each) for each in zip(batch.prompts, sets, strict=True)])
    return [
        LatentRow(
            case=study.case(way, prompt),
            way=way.name,
            num_candidates=prompt.num_candidates,
            prompt_index=prompt.index,
            prompt=prompt.text,
            own_index=own.index,
            sfumato=version,
            commit=commit,
            torch=torch.__version__,
            latents=packed(latents[place]),
        )
        for way, latents in found.items()
        for place, (prompt, own) in enumerate(zip(batch.prompts, sets, strict=True))
    ]


@torch.no_grad()
def _whole_runs(study: Study, prompts: Sequence[PortraitPrompt], sets: Sequence[CandidateSet]) -> dict[Way, Latent]:
    """Every step of every prompt's own candidate, and on the way what plain runs hand over."""
    scheduler = make_scheduler(study.folder, study.scheduler)
    sampling = Sampling(
        scheduler=scheduler,
        noise=first_noise(study, prompts),
        conditioning=encoded(study, [own.own for own in sets], study.folder),
        num_inference_steps=study.num_inference_steps,
        guidance_scale=study.guidance_scale,
    )
    whole = [way for way in served_ways(study) if way.kind in ("server only", "prompt-set")]
    ends = {way: way.num_server_steps(study.num_inference_steps) for way in whole}
    found: dict[Way, Latent] = {}
    for step in sample(partial(predict, load_parts(study.folder).unet), sampling):
        for way in (way for way, end in ends.items() if end == step.index + 1):
            is_last = way.setting is None
            found[way] = step.latents if is_last else step.latents / latent_scale(scheduler, step.index + 1)
    return found


def own_latents(study: Study, way: Way, prompt: PortraitPrompt, own: CandidateSet) -> Latent:
    """One prompt's own row, from a run with only those candidates that it depends on."""
    members = _needed(way, own)
    return run_set(study, way, prompt, members)[[members.index(own.own)]]


def _needed(way: Way, own: CandidateSet) -> list[str]:
    """Itself, and with map reuse the pivot, which comes first."""
    return list(dict.fromkeys([own.prompts[PIVOT], own.own] if way.spec.reuse_maps else [own.own]))


@torch.no_grad()
def run_set(study: Study, way: Way, prompt: PortraitPrompt, candidates: Sequence[str]) -> Latent:
    """The server's steps of a way for some candidates, from one prompt's noise; as the U-Net sees them."""
    run = candidate_run(study, way.spec.acceleration, prompt, candidates)
    latents = run_candidates(load_parts(study.folder).unet, run)
    return latents / latent_scale(run.scheduler, run.acceleration.num_steps)


@torch.no_grad()
def candidate_run(
    study: Study, acceleration: Acceleration, prompt: PortraitPrompt, candidates: Sequence[str]
) -> CandidateRun:
    """What the server is asked for."""
    both = encoded(study, candidates, study.folder)
    return CandidateRun(
        scheduler=make_scheduler(study.folder, study.scheduler),
        noise=first_noise(study, [prompt]),
        prompts=both.rows(slice(len(candidates), None)),
        negative=both.rows(slice(1)),
        num_inference_steps=study.num_inference_steps,
        guidance_scale=study.guidance_scale,
        acceleration=acceleration,
    )
