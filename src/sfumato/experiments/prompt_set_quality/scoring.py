"""Scores of finished pictures, and of pictures that the painter made of the same prompts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from rich.console import Console

from sfumato.experiments.networks import NetworkChoice, Pictures, load_networks
from sfumato.experiments.prompt_set_quality.device_side import PortraitRow
from sfumato.experiments.prompt_set_quality.portrait_prompts import PortraitPrompt, another_person
from sfumato.experiments.prompt_set_quality.reading import read_values
from sfumato.experiments.prompt_set_quality.running import progress
from sfumato.experiments.prompt_set_quality.ways import SERVER_ONLY
from sfumato.experiments.rows import RowStore, read_pictures
from sfumato.experiments.workers import Workers

PAINTINGS: Final = 6
"""Of each prompt: the first stands beside the ways as one of them, the others are what all are compared with."""
_BATCH_SIZE: Final = 48
_PROMPT: Final = ("num_candidates", "prompt_index")


@dataclass(frozen=True, kw_only=True)
class PortraitScore:
    """What a network says of one picture."""

    case: str
    clip_score: float
    """With the user's prompt."""
    read: str
    """Attributes and their likeliest values, JSON."""
    features: list[float]
    server_distance: float
    """Perceptual distance to the picture of the server alone."""


@dataclass(frozen=True, kw_only=True)
class PaintedScore:
    """The same of a painted picture."""

    case: str
    num_candidates: int
    prompt_index: int
    painting: int
    clip_score: float
    read: str
    features: list[float]


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Pictures to be scored, each with that of the server alone, and where they all are."""

    cases: list[str]
    prompts: list[str]
    references: list[str]
    places: dict[str, Path]


def scored(
    out: Path, device_fingerprint: str, networks: NetworkChoice, workers: Workers, console: Console
) -> pl.DataFrame:
    """Scores what was not scored yet, and gives every picture of one device model, without its bytes."""
    rows = RowStore(out / "rows", PortraitRow)
    scores = RowStore(out / "scores" / load_networks(networks).identity, PortraitScore)
    frame = rows.read(without=["picture"]).filter(pl.col("device_fingerprint") == device_fingerprint)
    todo = frame.join(_alone(frame), on=_PROMPT).filter(~pl.col("case").is_in(scores.finished()))
    places = rows.places()
    work = [_work(part, places) for part in todo.iter_slices(_BATCH_SIZE)]
    with progress(console, "scores", len(todo)) as advance:
        for done, found in workers.map(partial(_score, networks=networks), work):
            scores.add(found)
            advance(len(done.cases))
    return frame.join(scores.read(), on="case", how="inner")


def _alone(frame: pl.DataFrame) -> pl.DataFrame:
    """The server's own picture of each prompt."""
    return frame.filter(pl.col("way") == SERVER_ONLY.name).select(*_PROMPT, pl.col("case").alias("alone"))


def _work(part: pl.DataFrame, places: dict[str, Path]) -> _Work:
    cases, references = part["case"].to_list(), part["alone"].to_list()
    needed = {case: places[case] for case in (*cases, *references)}
    return _Work(cases=cases, prompts=part["prompt"].to_list(), references=references, places=needed)


def _score(work: _Work, networks: NetworkChoice) -> list[PortraitScore]:
    pictures, references = (read_pictures(cases, work.places) for cases in (work.cases, work.references))
    distances = load_networks(networks).perceptual(pictures, references)
    figures = _figures(pictures, work.prompts, networks)
    return [
        PortraitScore(case=case, server_distance=float(distance), **each)
        for case, distance, each in zip(work.cases, distances, figures, strict=True)
    ]


def _figures(pictures: Pictures, prompts: Sequence[str], networks: NetworkChoice) -> list[dict[str, Any]]:
    through = load_networks(networks)
    clip, features = through.clip(pictures, list(prompts)), through.features(pictures)
    read = read_values(through, pictures)
    return [
        {
            "clip_score": float(clip[i]),
            "read": json.dumps(read[i], sort_keys=True),
            "features": np.asarray(features[i]).tolist(),
        }
        for i in range(len(pictures))
    ]


def painted(
    out: Path, prompts: Sequence[PortraitPrompt], size: int, networks: NetworkChoice, workers: Workers, console: Console
) -> pl.DataFrame | None:
    """Scores of pictures by the painter that the bundled models learned from; None where it says nothing.

    That is where other networks look, which did not learn from it, and where it is not installed.
    """
    if load_networks(networks).choice != "bundled" or find_spec("skia") is None:
        return None
    store = RowStore(out / "painted" / load_networks(networks).identity, PaintedScore)
    finished = store.finished()
    todo = [p for p in prompts if _painted_case(p, PAINTINGS - 1, size) not in finished]
    with progress(console, "painted", len(todo)) as advance:
        for _, found in workers.map(partial(_paint, size=size, networks=networks), todo):
            store.add(found)
            advance(1)
    wanted = {_painted_case(p, painting, size) for p in prompts for painting in range(PAINTINGS)}
    return store.read().filter(pl.col("case").is_in(wanted))


def _painted_case(prompt: PortraitPrompt, painting: int, size: int) -> str:
    return f"{prompt.num_candidates} {prompt.index} {painting} {size}"


def _paint(prompt: PortraitPrompt, size: int, networks: NetworkChoice) -> list[PaintedScore]:
    from sfumato.portraits.painter import paint

    draws = [np.random.default_rng([prompt.seed, painting]) for painting in range(PAINTINGS)]
    pictures = np.stack([paint(another_person(prompt, draw), draw, size=size) for draw in draws])
    figures = _figures(pictures, [prompt.text] * PAINTINGS, networks)
    return [
        PaintedScore(
            case=_painted_case(prompt, painting, size),
            num_candidates=prompt.num_candidates,
            prompt_index=prompt.index,
            painting=painting,
            **each,
        )
        for painting, each in enumerate(figures)
    ]
