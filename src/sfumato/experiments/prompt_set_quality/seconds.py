"""Seconds of both sides on whole sets, in rounds in which every way has its turn."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from os import getloadavg
from statistics import mean
from time import perf_counter
from typing import Any

import torch
from torch import nn

from sfumato.experiments.prompt_set_quality.device_side import device_sampling
from sfumato.experiments.prompt_set_quality.parts import first_noise, latent_shape, load_parts
from sfumato.experiments.prompt_set_quality.portrait_prompts import PortraitPrompt, portrait_prompts
from sfumato.experiments.prompt_set_quality.server_side import candidate_run
from sfumato.experiments.prompt_set_quality.study import Study
from sfumato.experiments.prompt_set_quality.ways import DEVICE_ONLY, SERVER_ONLY, VANILLA, Way
from sfumato.models.denoiser import predict
from sfumato.models.folder import ModelFolder
from sfumato.models.sampling import sample
from sfumato.protocols.prompt_set.acceleration import Acceleration
from sfumato.protocols.prompt_set.candidates import candidate_set
from sfumato.protocols.prompt_set.server_stage import run_candidates


@dataclass(frozen=True, kw_only=True)
class SecondsRow:
    """One side of one way, once."""

    case: str
    model_fingerprint: str
    side: str
    """Server, or the fingerprint of the device model."""
    num_candidates: int
    round: int
    way: str
    seconds: float
    """Of all steps; text, decoding and the network are apart."""
    steps: list[float]
    """Of each call of the U-Net."""
    threads: int
    load: float
    """Of the machine in the minute before: how many processes wanted a core."""
    sfumato: str
    commit: str | None
    torch: str


@dataclass(frozen=True, kw_only=True)
class Round:
    """Every way once, on one prompt."""

    study: Study
    num_candidates: int
    number: int
    device: ModelFolder | None
    """None: the server's part; else the client's."""

    @property
    def side(self) -> str:
        """As rows have it."""
        return "server" if self.device is None else self.device.unet_fingerprint

    def case(self, way: Way) -> str:
        """Names one row."""
        of = (self.study.model_fingerprint, self.side, self.num_candidates, self.number, way.name)
        return " ".join(map(str, of))

    @property
    def ways(self) -> tuple[Way, ...]:
        """Those to be timed, each round from another one on."""
        timed = [SERVER_ONLY, *(w for w in self.study.ways if w.setting)]
        if self.device is not None:
            timed = [DEVICE_ONLY, *(w for w in self.study.ways if w.kind == "prompt-set")]
        start = self.number % len(timed)
        return tuple(timed[start:] + timed[:start])

    @property
    def shortest(self) -> Way:
        """One that is run once before."""
        kind = "hybrid" if self.device is None else "prompt-set"
        return next(way for way in self.study.ways if way.kind == kind)


def time_round(work: Round, version: str, commit: str | None) -> list[SecondsRow]:
    """Runs one round."""
    study, prompt = work.study, portrait_prompts(work.num_candidates, work.number + 1)[-1]
    measure = (
        partial(_time_server, study, prompt)
        if work.device is None
        else partial(_time_device, study, prompt, work.device)
    )
    measure(work.shortest)  # what a first run has to build is no part of any other
    rows = []
    for way in work.ways:
        load = getloadavg()[0]
        seconds, steps = measure(way)
        rows.append(
            SecondsRow(
                case=work.case(way),
                model_fingerprint=study.model_fingerprint,
                side=work.side,
                num_candidates=work.num_candidates,
                round=work.number,
                way=way.name,
                seconds=seconds,
                steps=steps,
                threads=torch.get_num_threads(),
                load=load,
                sfumato=version,
                commit=commit,
                torch=torch.__version__,
            )
        )
    if work.device is None:
        rows.append(_vanilla(work, rows))
    return rows


def _vanilla(work: Round, rows: list[SecondsRow]) -> SecondsRow:
    """All steps for all candidates: each but the first is a full step of the plain run, so it is not run again."""
    plain = [way for way in work.study.ways if way.kind == "prompt-set"]
    steps = next(row.steps for row in rows if row.way == plain[-1].name)
    full = mean(steps[1:] or steps)
    whole = [steps[0], *[full] * (work.study.num_inference_steps - 1)]
    row = next(row for row in rows if row.way == plain[-1].name)
    return SecondsRow(
        **{**vars(row), "case": work.case(VANILLA), "way": VANILLA.name, "seconds": sum(whole), "steps": whole}
    )


@torch.no_grad()
def _time_server(study: Study, prompt: PortraitPrompt, way: Way) -> tuple[float, list[float]]:
    unet = load_parts(study.folder).unet
    if way == SERVER_ONLY:
        return _time_alone(study, study.folder, prompt, None)
    own = candidate_set(prompt.text, max_candidates=prompt.num_candidates)
    candidates = own.prompts if way.is_private else (own.own,)
    acceleration = way.acceleration(study.num_inference_steps)
    assert isinstance(acceleration, Acceleration)
    run = candidate_run(study, acceleration, prompt, candidates)
    with _timed_calls(unet) as steps:
        started = perf_counter()
        run_candidates(unet, run)
        return perf_counter() - started, steps


def _time_device(study: Study, prompt: PortraitPrompt, device: ModelFolder, way: Way) -> tuple[float, list[float]]:
    return _time_alone(study, device, prompt, None if way == DEVICE_ONLY else way)


@torch.no_grad()
def _time_alone(study: Study, model: ModelFolder, prompt: PortraitPrompt, way: Way | None) -> tuple[float, list[float]]:
    """One model's steps for one picture: all of them, or those after the server's part of a way."""
    unet = load_parts(model).unet
    noise = first_noise(study, [prompt]) if way is None else torch.zeros(latent_shape(study))
    sampling = device_sampling(study, model, [prompt.text], noise, way)
    with _timed_calls(unet) as steps:
        started = perf_counter()
        for _ in sample(partial(predict, unet), sampling):
            pass
        return perf_counter() - started, steps


@contextmanager
def _timed_calls(unet: nn.Module) -> Iterator[list[float]]:
    """Seconds of each call; copies of the U-Net that are made meanwhile have its hooks."""
    found: list[float] = []
    started = 0.0

    def before(*_: Any) -> None:
        nonlocal started
        started = perf_counter()

    def after(*_: Any) -> None:
        found.append(perf_counter() - started)

    hooks = [unet.register_forward_pre_hook(before), unet.register_forward_hook(after)]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
