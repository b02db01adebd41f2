"""Scores of finished pictures: each against its unsplit twin, its prompt, and the set."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import Progress

from sfumato.experiments.networks import NetworkChoice, load_networks
from sfumato.experiments.rows import PictureRow, RowStore, read_pictures
from sfumato.experiments.workers import Workers
from sfumato.metrics.pictures import mean_absolute_psnr, psnr, ssim


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """What the metrics say of one picture; the comparisons are None where it is unsplit itself."""

    case: str
    psnr: float | None
    ssim: float | None
    mean_absolute_psnr: float | None
    perceptual_distance: float | None
    clip_score: float
    features: list[float]
    class_probabilities: list[float]


@dataclass(frozen=True, kw_only=True)
class ScoreBatch:
    """Pictures of one size, and where they and their twins are."""

    cases: tuple[str, ...]
    references: tuple[str, ...] | None
    prompts: tuple[str, ...]
    places: dict[str, Path]


def score(batch: ScoreBatch, networks: NetworkChoice) -> list[ScoreRow]:
    """Scores one batch; runs in a worker process."""
    with_networks = load_networks(networks)
    pictures = read_pictures(batch.cases, batch.places)
    features, classes = with_networks.features(pictures), with_networks.class_probabilities(pictures)
    texts = with_networks.clip(pictures, list(batch.prompts))
    nothing = [None] * len(pictures)
    compared: list[list[float] | list[None]] = [nothing, nothing, nothing, nothing]
    if batch.references is not None:
        references = read_pictures(batch.references, batch.places)
        metrics = (psnr, ssim, mean_absolute_psnr, with_networks.perceptual)
        compared = [metric(pictures, references).tolist() for metric in metrics]
    return [
        ScoreRow(
            case=case,
            psnr=compared[0][i],
            ssim=compared[1][i],
            mean_absolute_psnr=compared[2][i],
            perceptual_distance=compared[3][i],
            clip_score=float(texts[i]),
            features=np.asarray(features[i]).tolist(),
            class_probabilities=np.asarray(classes[i]).tolist(),
        )
        for i, case in enumerate(batch.cases)
    ]


def scored(out: Path, networks: NetworkChoice, workers: Workers, console: Console) -> pl.DataFrame:
    """Scores what was not scored yet, and gives every scored row, without its picture.

    Split pictures whose unsplit twin is not there yet are left for later.
    """
    rows = RowStore(out / "rows", PictureRow)
    scores = RowStore(out / "scores" / load_networks(networks).identity, ScoreRow)
    frame = rows.read(without=["picture"])
    todo = list(_batches(frame, scores.finished(), rows.places()))
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("scoring", total=sum(len(b.cases) for b in todo))
        for batch, found in workers.map(partial(score, networks=networks), todo):
            scores.add(found)
            progress.advance(task, len(batch.cases))
    return frame.join(scores.read(), on="case", how="inner")


_BATCH_SIZE = 64


def _batches(frame: pl.DataFrame, finished: set[str], places: dict[str, Path]) -> Iterator[ScoreBatch]:
    present = set(frame["case"])
    todo = frame.filter(
        ~pl.col("case").is_in(finished) & (pl.col("reference").is_null() | pl.col("reference").is_in(present))
    )
    # Sizes and specs apart, so that a batch stacks and its files are few.
    for _, group in todo.group_by("height", "width", "num_inference_steps", "spec", "prompt_set", maintain_order=True):
        for part in group.iter_slices(_BATCH_SIZE):
            references = None if part["reference"].null_count() else tuple(part["reference"])
            cases = tuple(part["case"])
            yield ScoreBatch(
                cases=cases,
                references=references,
                prompts=tuple(part["prompt"]),
                places={case: places[case] for case in (*cases, *(references or ()))},
            )
