"""One batch of pictures, all parties in the worker process that computes it."""

import subprocess
from functools import cache, lru_cache
from pathlib import Path
from time import perf_counter

import torch

from sfumato.errors import ModelError, SpecMismatch
from sfumato.experiments.grid import Batch
from sfumato.experiments.rows import PictureRow, as_png
from sfumato.models.folder import ModelFolder, find_model
from sfumato.protocols.specs import find_spec
from sfumato.randomness import seeded_generator
from sfumato.simulation import InProcessClouds, simulate
from sfumato.version import VERSION
from sfumato.worker.sessions import ServedModel, serve_model


def compute(batch: Batch, version: str, commit: str | None) -> list[PictureRow]:
    """Generates the pictures of a batch.

    Args:
        batch: what to compute.
        version, commit: of the package at the process that shares out the work.

    Raises:
        SpecMismatch: this machine runs another version of sfumato.
        ModelError: this machine has another model under the same name.
    """
    if version != VERSION:
        raise SpecMismatch(f"a worker runs sfumato {VERSION}, the sweep {version}: install the same version everywhere")
    condition = batch.condition
    model = find_model(condition.model)
    if model.unet_fingerprint != condition.model_fingerprint:
        raise ModelError(f"model {model.name!r} of a worker is not the sweep's: give every machine the same folder")
    spec = find_spec(condition.protocol).from_json(condition.spec_json)
    pipe = simulate(model, spec, scheduler=condition.scheduler, clouds=InProcessClouds(_served(model), spec.num_clouds))
    started = perf_counter()
    output = pipe(
        [p.text for p in batch.prompts],
        generator=[seeded_generator(p.seed) for p in batch.prompts],
        num_inference_steps=condition.num_inference_steps,
        guidance_scale=condition.guidance_scale,
        height=condition.height,
        width=condition.width,
        output_type="np",
    )
    seconds, num_pictures = perf_counter() - started, len(batch.prompts)
    traffic, unsplit = output.report.traffic, condition.unsplit
    return [
        PictureRow(
            case=condition.case(batch.prompt_set, prompt),
            reference=None if condition == unsplit else unsplit.case(batch.prompt_set, prompt),
            model=model.name,
            model_fingerprint=condition.model_fingerprint,
            prompt_set=batch.prompt_set,
            prompt_index=prompt.index,
            prompt=prompt.text,
            seed=prompt.seed,
            protocol=condition.protocol,
            spec=condition.spec_json,
            num_clouds=spec.num_clouds,
            num_inference_steps=condition.num_inference_steps,
            guidance_scale=condition.guidance_scale,
            scheduler=condition.scheduler,
            height=condition.height,
            width=condition.width,
            batch_size=num_pictures,
            seconds=seconds / num_pictures,
            sent_bytes=traffic.sent_bytes / num_pictures,
            received_bytes=traffic.received_bytes / num_pictures,
            rounds=traffic.rounds,
            sfumato=version,
            commit=commit,
            torch=torch.__version__,
            device="cpu",
            picture=as_png(picture),
        )
        for prompt, picture in zip(batch.prompts, output.images, strict=True)
    ]


@lru_cache(maxsize=1)
def _served(model: ModelFolder) -> ServedModel:
    return serve_model(model)


@cache
def current_commit() -> str | None:
    """The git commit that this package runs from, with ``+`` where files differ from it; None outside a checkout."""
    here = Path(__file__)

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(here.parent), *arguments]
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
        return found.stdout.strip() if found.returncode == 0 else None

    try:
        # A site-packages folder inside somebody's own repository is not a checkout of ours.
        if git("ls-files", "--error-unmatch", here.name) is None:
            return None
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(here.parents[1]))
        return f"{git('rev-parse', '--short=12', 'HEAD')}{'+' if changed else ''}"
    except (OSError, subprocess.TimeoutExpired):
        return None
