"""One attack on one batch of runs: guess, judge, and rows of what came out."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.attacks.guesses import ChoiceGuess, Guess
from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.view import RunView
from sfumato.audit.blind import stricter
from sfumato.audit.candidates import candidates_for
from sfumato.audit.judging import Known, Scores, judge, pictures_of
from sfumato.audit.made_runs import RunMaker, Truth, view_of
from sfumato.audit.noise import noise_instead
from sfumato.audit.plan import Trial, setting_name
from sfumato.audit.rows import LackRow, PanelRow, SecretRow
from sfumato.audit.store import Store
from sfumato.errors import LacksInput, WireError
from sfumato.experiments.picturing import current_commit
from sfumato.experiments.rows import as_png
from sfumato.protocols.base import Spec
from sfumato.transport.recording import Recording
from sfumato.version import VERSION

PANEL_PICTURES = 4
"""Of each trial, kept to look at."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A batch of runs of one setting, with what only their client knew."""

    maker: RunMaker
    """Makes runs like them."""
    first: int
    """Number of its first secret among those of the setting."""
    is_control: bool
    recording: Recording
    truth: Truth
    earlier: tuple[Recording, ...] = ()
    """Runs of the same prompts with other noise, for attacks that pool them."""
    source: str = ""
    """Names a run that was recorded elsewhere; empty for runs made here."""

    @property
    def spec(self) -> Spec:
        """Of the protocol."""
        return self.maker.spec

    def name_of(self, trial: Trial) -> str:
        """Names an attack on it."""
        return trial_name(self.maker, trial, self.first, is_control=self.is_control, source=self.source)

    @cached_property
    def noise(self) -> Recording:
        """The same runs with noise in place of what was sent."""
        return noise_instead(self.recording, seed=self.first)


def trial_name(maker: RunMaker, trial: Trial, first: int, *, is_control: bool, source: str = "") -> str:
    """Names one attack on one batch: 16 hexadecimal digits and where the batch begins."""
    about = [maker.name, is_control, source, trial.attack.name, trial.attack_settings, trial.clouds]
    return f"{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]}-{first}"


class Attempt:
    """One trial on one batch."""

    def __init__(self, subject: Subject, trial: Trial):
        self._subject, self._trial = subject, trial
        shape = subject.truth.pictures.shape[:3]
        view = partial(view_of, maker=subject.maker, clouds=trial.clouds, shape=shape, learns=True)
        seen = view(subject.recording)
        texts, self._true = candidates_for(seen, subject.truth, subject.first, trial.attack.num_candidates)
        earlier = subject.earlier[: trial.attack.num_earlier]
        self._view = replace(seen, candidates=texts, earlier=tuple(map(view, earlier)))
        self._noise = None
        if not subject.is_control:
            noises = (noise_instead(each, seed=subject.first) for each in earlier)
            self._noise = replace(view(subject.noise), candidates=texts, earlier=tuple(map(view, noises)))

    @property
    def _name(self) -> str:
        subject = self._subject
        return subject.name_of(self._trial)

    def keep(self, store: Store) -> None:
        """Attacks, judges and keeps."""
        started = perf_counter()
        try:
            guess = self._trial.attack.run(self._view)
        except LacksInput as lack:
            store.lacks.add([self._lack(str(lack))])
            return
        seconds = (perf_counter() - started) / len(self._subject.truth.prompts)
        prior = self._trial.attack.prior(self._view)
        known = Known(
            truth=self._subject.truth,
            model=self._subject.maker.model,
            candidates=self._true,
            outside=outside_pixels(self._view),
        )
        scored, before = judge(guess, known), judge(prior, known)
        if not scored:
            store.lacks.add([self._lack("nothing that this attack guesses is known of these runs")])
            return
        if pictures_of(prior, known.model) is not None:
            before = stricter(before, known)
        on_noise = None if self._noise is None else self._on_noise(self._noise, known, before)
        store.rows.add(list(self._rows(guess, scored, before, on_noise, seconds)))
        pictures, guessed = pictures_of(guess, known.model), pictures_of(prior, known.model)
        if pictures is not None and guessed is not None and self._subject.first == 0:
            store.panels.add(list(self._panels(pictures, guessed)))

    def _on_noise(self, noise: RunView, known: Known, before: Scores) -> Scores:
        """Scores of the same attack on noise; those without a transcript where it cannot be read at all."""
        try:
            return judge(self._trial.attack.run(noise), known)
        except (LacksInput, WireError):
            return before

    def _rows(
        self, guess: Guess, scored: Scores, before: Scores, on_noise: Scores | None, seconds: float
    ) -> Iterator[SecretRow]:
        subject, trial, maker = self._subject, self._trial, self._subject.maker
        name = self._name
        over = guess.scores if isinstance(guess, ChoiceGuess) else None
        for metric, values in scored.items():
            for place, value in enumerate(values):
                yield SecretRow(
                    case=f"{name}-{metric.replace(' ', '-')}-{place}",
                    trial=name,
                    setting=setting_name(subject.spec),
                    protocol=subject.spec.name,
                    spec=subject.spec.to_json(),
                    model=maker.model.name,
                    model_fingerprint=maker.model.unet_fingerprint,
                    num_inference_steps=maker.num_inference_steps,
                    guidance_scale=maker.guidance_scale,
                    scheduler=maker.scheduler,
                    clouds=trial.who,
                    attack=trial.attack.name,
                    attack_settings=trial.attack_settings,
                    secret=trial.attack.secret.value,
                    metric=metric,
                    number=self._subject.first + place,
                    guess=float(value),
                    prior_only=float(before[metric][place]),
                    on_noise=None if on_noise is None else float(on_noise[metric][place]),
                    scores=[] if over is None else [float(each) for each in over[place]],
                    true=-1 if over is None else int(self._true[place]),
                    is_control=subject.is_control,
                    controlled_by=setting_name(trial.attack.control()),
                    seconds=seconds,
                    finding=guess.finding,
                    sfumato=VERSION,
                    commit=current_commit(),
                )

    def _panels(self, pictures: NDArray[np.uint8], guessed: NDArray[np.uint8]) -> Iterator[PanelRow]:
        for place in range(min(PANEL_PICTURES, len(pictures))):
            yield PanelRow(
                case=f"{self._name}-{place}",
                setting=setting_name(self._subject.spec),
                clouds=self._trial.who,
                attack=self._trial.attack.name,
                attack_settings=self._trial.attack_settings,
                number=place,
                truth=as_png(self._subject.truth.pictures[place]),
                prior_only=as_png(guessed[place]),
                guess=as_png(pictures[place]),
            )

    def _lack(self, reason: str) -> LackRow:
        subject, trial = self._subject, self._trial
        return LackRow(
            case=self._name,
            setting=setting_name(subject.spec),
            protocol=subject.spec.name,
            spec=subject.spec.to_json(),
            clouds=trial.who,
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
