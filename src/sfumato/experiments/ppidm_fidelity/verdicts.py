"""Verdicts on claims about PSNR, from paired pictures and the interval of their difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sfumato.experiments.ppidm_fidelity.comparisons import PICTURE
from sfumato.metrics.intervals import Interval, bootstrap_interval

Verdict = Literal["holds", "does not hold", "not settled by these pictures", "not tested"]

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something that can be tried on pictures."""

    model: str
    claim: str
    unit: str
    meaning: str
    """What the figure is and where the claim holds, in a sentence."""
    paper: float | None = None
    """The same figure from the paper's printed means."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    """A claim, the figure that decides it, and the verdict."""

    claim: Claim
    verdict: Verdict
    value: float | None = None
    low: float | None = None
    high: float | None = None
    """The ends of the interval from which the verdict follows."""
    pictures: int = 0


def untested(claim: Claim, pictures: int = 0) -> Trend:
    """What is said of a claim for which fewer than two pictures have all settings."""
    return Trend(claim=claim, verdict="not tested", pictures=pictures)


def tried_above(claim: Claim, threshold: float, figures: NDArray[np.float64], num_resamples: int) -> Trend:
    """Tries that the mean of the figures, one a picture, is above a threshold."""
    if len(figures) < 2:
        return untested(claim, len(figures))
    interval = bootstrap_interval(figures, confidence=CONFIDENCE, num_resamples=num_resamples)
    verdict = side_of(interval, threshold, above="holds", below="does not hold")
    return Trend(claim=claim, verdict=verdict, value=float(figures.mean()), **interval._asdict(), pictures=len(figures))


def tried_below(claim: Claim, threshold: float, figures: NDArray[np.float64], num_resamples: int) -> Trend:
    """Tries that the mean of the figures, one a picture, is below a threshold."""
    if len(figures) < 2:
        return untested(claim, len(figures))
    interval = bootstrap_interval(figures, confidence=CONFIDENCE, num_resamples=num_resamples)
    verdict = side_of(interval, threshold, above="does not hold", below="holds")
    return Trend(claim=claim, verdict=verdict, value=float(figures.mean()), **interval._asdict(), pictures=len(figures))


def side_of(interval: Interval, threshold: float, *, above: Verdict, below: Verdict) -> Verdict:
    """The verdict of an interval that lies on one side of a threshold; not settled where it holds the threshold."""
    if interval.low > threshold:
        return above
    return below if interval.high < threshold else "not settled by these pictures"


def tried_small(claim: Claim, margin: float, differences: Sequence[NDArray[np.float64]], num_resamples: int) -> Trend:
    """Tries that several means are all within a margin of 0; the figure is the largest.

    It holds where every interval lies within the margin, and does not where one lies outside. The intervals are
    widened so that all are right together with the usual confidence.
    """
    if not differences or len(differences[0]) < 2:
        return untested(claim, len(differences[0]) if differences else 0)
    confidence = 1 - (1 - CONFIDENCE) / len(differences)
    tried = [bootstrap_interval(d, confidence=confidence, num_resamples=num_resamples) for d in differences]
    largest = int(np.argmax([abs(d.mean()) for d in differences]))
    verdict: Verdict = "not settled by these pictures"
    if all(-margin <= low and high <= margin for low, high in tried):
        verdict = "holds"
    elif any(low > margin or high < -margin for low, high in tried):
        verdict = "does not hold"
    return Trend(
        claim=claim,
        verdict=verdict,
        value=float(differences[largest].mean()),
        **tried[largest]._asdict(),
        pictures=len(differences[largest]),
    )


def paired_psnr(rows: pl.DataFrame, varying: str) -> tuple[list[Any], NDArray[np.float64]]:
    """The values of a column, and PSNR of the pictures that have all of them: shape (pictures, values).

    PSNR of an identical pair counts as that of one byte off by one, the largest finite one, so that no difference is
    made larger than it is.
    """
    values = rows[varying].unique().sort().to_list()
    rows = rows.with_columns(psnr=_finite_psnr())
    table = rows.select(PICTURE).unique(maintain_order=True)
    for place, value in enumerate(values):
        cell = rows.filter(pl.col(varying) == value).select(*PICTURE, pl.col("psnr").alias(str(place)))
        table = table.join(cell, on=PICTURE, maintain_order="left")
    return values, table.drop(PICTURE).to_numpy().reshape(len(table), len(values))


def _finite_psnr() -> pl.Expr:
    least_error = 1 / (3 * pl.col("height") * pl.col("width"))
    return pl.when(pl.col("psnr").is_infinite()).then(10 * (255**2 / least_error).log10()).otherwise(pl.col("psnr"))
