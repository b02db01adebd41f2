"""Runs what a plan still lacks: batch by batch, every attack on each, and keeps the scores."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.attacks.base import RunView
from sfumato.attacks.guesses import ChoiceGuess, Guess
from sfumato.attacks.seen.catalog import reader_of
from sfumato.audit.candidates import candidates_for
from sfumato.audit.judging import Known, Scores, judge, pictures_of
from sfumato.audit.made_runs import RunMaker, Truth, view_of
from sfumato.audit.noise import noise_instead
from sfumato.audit.plan import Audited, Plan, Trial, setting_name
from sfumato.audit.rows import LackRow, PanelRow, SecretRow
from sfumato.errors import LacksInput
from sfumato.experiments.picturing import current_commit
from sfumato.experiments.rows import RowStore, as_png
from sfumato.models.folder import ModelFolder
from sfumato.protocols.prompt_set.spec import PromptSet
from sfumato.transport.recording import Recording
from sfumato.version import VERSION
from sfumato.wire.selection import keep_any

PANEL_PICTURES = 4
"""Of each trial, kept to look at."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """The folders of one audit."""

    rows: RowStore[SecretRow]
    panels: RowStore[PanelRow]
    lacks: RowStore[LackRow]

    @classmethod
    def of(cls, out: Path) -> "Store":
        """Opens or makes them."""
        return cls(
            rows=RowStore(out / "rows", SecretRow),
            panels=RowStore(out / "panels", PanelRow),
            lacks=RowStore(out / "lacks", LackRow),
        )

    def finished(self) -> set[str]:
        """Trials on batches that were made, by name."""
        return self.lacks.finished() | set(self.rows.read(["case", "trial"])["trial"])


@dataclass(frozen=True, kw_only=True)
class Runs:
    """How runs are made."""

    model: ModelFolder
    num_inference_steps: int = 8
    guidance_scale: float = 5.0
    scheduler: str = "dpm++"
    batch_size: int = 10

    def maker(self, audited: Audited) -> RunMaker:
        """For one setting; a prompt set takes as many steps as its cloud makes, and two more."""
        spec, steps = audited.spec, self.num_inference_steps
        if isinstance(spec, PromptSet):
            steps = max(steps, spec.acceleration.num_steps + 2)
        return RunMaker(
            model=self.model,
            spec=spec,
            num_inference_steps=steps,
            guidance_scale=self.guidance_scale,
            scheduler=self.scheduler,
            batch_size=self.batch_size,
        )


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A batch of one setting."""

    audited: Audited
    first: int
    number: int


def pieces(plan: Plan, batch_size: int) -> list[Piece]:
    """Everything that a plan asks for, setting by setting."""
    return [
        Piece(audited=audited, first=first, number=min(batch_size, plan.num_secrets - first))
        for audited in plan.audited
        for first in range(0, plan.num_secrets, batch_size)
    ]


def run_piece(plan: Plan, runs: Runs, piece: Piece, store: Store, tell: Callable[[str], None]) -> int:
    """Makes a batch of runs, tries what was not tried on it, and keeps the scores of each trial as it ends.

    Returns:
        How many trials were made.

    Raises:
        SfumatoError: a run or an attack failed; what was finished is kept.
    """
    finished = store.finished()
    todo = [trial for trial in piece.audited.trials if _is_due(plan, piece, trial, finished)]
    if not todo:
        return 0
    maker = runs.maker(piece.audited)
    tell(f"{piece.audited.name}: runs of people {piece.first + 1} to {piece.first + piece.number}")
    ((recording, truth),) = maker.victims(
        piece.number, keep_any([trial.attack.keeps for trial in todo]), first=piece.first
    )
    noise = None if piece.audited.is_control else noise_instead(recording, seed=piece.first)
    for trial in todo:
        tell(f"{piece.audited.name}: {trial.attack.name} by {_clouds(trial)}")
        _Attempt(maker, piece, trial, recording, noise, truth).keep(store)
    return len(todo)


def _is_due(plan: Plan, piece: Piece, trial: Trial, finished: set[str]) -> bool:
    return piece.first < plan.secrets_of(trial) and _case(piece.audited, trial, piece.first) not in finished


class _Attempt:
    """One trial on one batch."""

    def __init__(
        self,
        maker: RunMaker,
        piece: Piece,
        trial: Trial,
        recording: Recording,
        noise: Recording | None,
        truth: Truth,
    ):
        self._maker, self._piece, self._trial, self._truth = maker, piece, trial, truth
        view = partial(view_of, maker=maker, clouds=trial.clouds, shape=truth.pictures.shape[:3], learns=True)
        seen = view(recording)
        texts, self._true = candidates_for(seen, truth, piece.first, trial.attack.num_candidates)
        self._view = replace(seen, candidates=texts)
        self._noise = None if noise is None else replace(view(noise), candidates=texts)

    def keep(self, store: Store) -> None:
        """Attacks, judges and keeps."""
        started = perf_counter()
        try:
            guess = self._trial.attack.run(self._view)
        except LacksInput as lack:
            store.lacks.add([self._lack(str(lack))])
            return
        seconds = (perf_counter() - started) / self._piece.number
        prior = self._trial.attack.prior(self._view)
        known = Known(
            truth=self._truth, model=self._maker.model, candidates=self._true, outside=outside_pixels(self._view)
        )
        scored, before = judge(guess, known), judge(prior, known)
        on_noise = None if self._noise is None else judge(self._trial.attack.run(self._noise), known)
        store.rows.add(list(self._rows(guess, scored, before, on_noise, seconds)))
        pictures, guessed = pictures_of(guess, known.model), pictures_of(prior, known.model)
        if pictures is not None and guessed is not None and self._piece.first == 0:
            store.panels.add(list(self._panels(pictures, guessed)))

    def _rows(
        self, guess: Guess, scored: Scores, before: Scores, on_noise: Scores | None, seconds: float
    ) -> Iterator[SecretRow]:
        audited, trial, maker = self._piece.audited, self._trial, self._maker
        name = _case(audited, trial, self._piece.first)
        over = guess.scores if isinstance(guess, ChoiceGuess) else None
        for metric, values in scored.items():
            for place, value in enumerate(values):
                yield SecretRow(
                    case=f"{name}-{metric.replace(' ', '-')}-{place}",
                    trial=name,
                    setting=audited.name,
                    protocol=audited.spec.name,
                    spec=audited.spec.to_json(),
                    model=maker.model.name,
                    model_fingerprint=maker.model.unet_fingerprint,
                    num_inference_steps=maker.num_inference_steps,
                    guidance_scale=maker.guidance_scale,
                    scheduler=maker.scheduler,
                    clouds=_clouds(trial),
                    attack=trial.attack.name,
                    attack_settings=trial.attack_settings,
                    secret=trial.attack.secret.value,
                    metric=metric,
                    number=self._piece.first + place,
                    guess=float(value),
                    prior_only=float(before[metric][place]),
                    on_noise=None if on_noise is None else float(on_noise[metric][place]),
                    scores=[] if over is None else [float(each) for each in over[place]],
                    true=-1 if over is None else int(self._true[place]),
                    is_control=audited.is_control,
                    controlled_by=setting_name(trial.attack.control()),
                    seconds=seconds,
                    finding=guess.finding,
                    sfumato=VERSION,
                    commit=current_commit(),
                )

    def _panels(self, pictures: NDArray[np.uint8], guessed: NDArray[np.uint8]) -> Iterator[PanelRow]:
        for place in range(min(PANEL_PICTURES, len(pictures))):
            yield PanelRow(
                case=f"{_case(self._piece.audited, self._trial, 0)}-{place}",
                setting=self._piece.audited.name,
                clouds=_clouds(self._trial),
                attack=self._trial.attack.name,
                attack_settings=self._trial.attack_settings,
                number=place,
                truth=as_png(self._truth.pictures[place]),
                prior_only=as_png(guessed[place]),
                guess=as_png(pictures[place]),
            )

    def _lack(self, reason: str) -> LackRow:
        audited, trial = self._piece.audited, self._trial
        return LackRow(
            case=_case(audited, trial, self._piece.first),
            setting=audited.name,
            protocol=audited.spec.name,
            spec=audited.spec.to_json(),
            clouds=_clouds(trial),
            attack=trial.attack.name,
            attack_settings=trial.attack_settings,
            secret=trial.attack.secret.value,
            reason=reason,
        )


def outside_pixels(view: RunView) -> Any:
    """Pixels of the cells that these clouds never received; None where they received all, or none is known."""
    try:
        maps = [each for each in reader_of(view).latents(view) if each.step == 0]
    except LacksInput:
        return None
    settings = view.known_settings()
    known = torch.zeros(settings.height, settings.width, dtype=torch.bool)
    for each in maps:
        window = each.window
        down, across = settings.height // window.height, settings.width // window.width
        known[window.top * down : window.bottom * down, window.left * across : window.right * across] = True
    return None if not maps or bool(known.all()) else ~known.numpy()


def _case(audited: Audited, trial: Trial, first: int) -> str:
    about = [audited.spec.name, audited.spec.to_json(), audited.is_control, trial.attack.name, trial.attack_settings]
    digest = hashlib.sha256(json.dumps([*about, trial.clouds]).encode()).hexdigest()[:16]
    return f"{digest}-{first}"


def _clouds(trial: Trial) -> str:
    return ",".join(str(cloud + 1) for cloud in trial.clouds)
