"""Runs that were recorded elsewhere, with the secrets file that their client kept."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sfumato.attacks.view import RunView
from sfumato.audit.attempts import Attempt, Subject
from sfumato.audit.made_runs import RunMaker, Truth
from sfumato.audit.plan import Trial
from sfumato.audit.running import Runs
from sfumato.audit.store import Store
from sfumato.errors import SpecMismatch, Unsupported
from sfumato.models.decoding import decode, to_uint8
from sfumato.models.loading import load_decoder
from sfumato.portraits import mentioned
from sfumato.run_secrets import RunSecrets
from sfumato.transport.recording import Recording


def recorded(folders: Sequence[Path], secrets: Sequence[Path], runs: Runs) -> list[Subject]:
    """Reads runs and what only their client knew.

    Args:
        folders: that ``generate --record`` wrote.
        secrets: that ``generate --secrets`` wrote, one for each, in the same order.
        runs: the model, the scheduler and the guidance that they were made with.

    Raises:
        ValueError: not one file for each folder.
        WireError, StorageError: one cannot be read.
        SpecMismatch: of another model.
        LacksInput: a run that ended before it began.
        Unsupported: clouds of one run follow different protocols.
    """
    if len(folders) != len(secrets):
        raise ValueError(
            f"{len(folders)} recorded runs came with {len(secrets)} --secrets: name the file of each run, in order"
        )
    found: list[Subject] = []
    taken: dict[str, int] = {}
    for folder, file in zip(folders, secrets, strict=True):
        subject = _subject(folder, file, runs)
        first = taken.get(subject.maker.name, 0)
        taken[subject.maker.name] = first + len(subject.truth.prompts)
        found.append(replace(subject, first=first))
    return found


def attack_recorded(subject: Subject, tried: Sequence[Trial], store: Store) -> None:
    """Tries attacks on a recorded run, those that were not tried before.

    Raises:
        SfumatoError: an attack failed; what was finished is kept.
    """
    finished = store.finished()
    for trial in tried:
        if subject.name_of(trial) not in finished:
            Attempt(subject, trial).keep(store)


def _subject(folder: Path, file: Path, runs: Runs) -> Subject:
    recording, kept = Recording.read(folder), RunSecrets.read(file)
    if recording.meta.get("parts"):
        raise Unsupported(
            f"{folder} is of clouds that follow different protocols, and an audit takes one at a time: attack it "
            "with sfumato attack"
        )
    if kept.model_fingerprint != runs.model.unet_fingerprint:
        raise SpecMismatch(f"{file} is of a run with another model than {runs.model.name!r}: name it with --model")
    view = RunView.of(recording, runs.model)
    latents = kept.latents[-1]
    number = len(latents)
    source = hashlib.sha256(latents.numpy().tobytes()).hexdigest()[:16]
    maker = RunMaker(
        model=runs.model,
        spec=view.spec,
        num_inference_steps=len(kept.latents) - 1,
        guidance_scale=runs.guidance_scale,
        scheduler=runs.scheduler,
        batch_size=runs.batch_size,
    )
    truth = Truth(
        prompts=(kept.prompt,) * number,
        attributes=(mentioned(kept.prompt),) * number,
        latents=latents,
        pictures=to_uint8(decode(load_decoder(runs.model), latents)),
        seed=kept.seed,
    )
    return Subject(maker=maker, first=0, is_control=False, recording=recording, truth=truth, source=source)
