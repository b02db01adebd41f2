"""The numbers of one table cell: a score over its pictures, its interval, and what the paper prints."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sfumato.experiments.ppidm_fidelity.comparisons import ReportSettings
from sfumato.experiments.ppidm_fidelity.published import Published
from sfumato.metrics.intervals import bootstrap_interval
from sfumato.metrics.sets import frechet_distance, inception_score

Statistic = Callable[..., float]

_WHAT = ("unsplit", "split", "change")
"""Of the pictures' own scores."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One metric over the pictures of one cell."""

    metric: str
    value: float | None
    """None where nothing was scored; infinite where every pair is identical."""
    low: float | None = None
    high: float | None = None
    """The ends of the 95 % interval; None where fewer than two pictures give one."""
    pairs: int
    identical: int = 0
    """Pairs whose bytes all agree. Their PSNR is infinite, and the value is the mean of the others."""
    paper: Mapping[str, Decimal] = field(default_factory=dict)
    """The paper's figure by model."""


def fidelity_measures(
    cell: pl.DataFrame, settings: ReportSettings, paper: tuple[Published, ...] = ()
) -> tuple[Measure, ...]:
    """PSNR, SSIM, perceptual and Fréchet distance of split pictures to the unsplit ones."""
    names, resamples = settings.names, settings.num_resamples
    return (
        _psnr(_scores(cell, "psnr"), resamples, {p.model: p.psnr for p in paper}),
        _mean("SSIM", _scores(cell, "ssim"), resamples, {p.model: p.ssim for p in paper}),
        _mean(names.perceptual, _scores(cell, "perceptual_distance"), resamples, {p.model: p.lpips for p in paper}),
        _frechet(cell, settings, {p.model: p.fid for p in paper}),
    )


def own_measures(cell: pl.DataFrame, settings: ReportSettings) -> tuple[Measure, ...]:
    """Inception and CLIP scores of unsplit and split pictures, and what splitting changed."""
    return (
        *_unsplit_split_change(
            settings.names.inception, "class_probabilities", cell, inception_score, settings.num_set_resamples
        ),
        *_unsplit_split_change(settings.names.clip, "clip_score", cell, _plain_mean, settings.num_resamples),
    )


def _scores(cell: pl.DataFrame, column: str) -> NDArray[np.float64]:
    return cell[column].cast(pl.Float64).drop_nulls().drop_nans().to_numpy()


def _psnr(scores: NDArray[np.float64], num_resamples: int, paper: Mapping[str, Decimal]) -> Measure:
    """The mean over pairs that differ, with the identical ones counted: no mean holds an infinite value."""
    finite = scores[np.isfinite(scores)]
    identical = len(scores) - len(finite)
    found = _mean("PSNR", finite, num_resamples, paper)
    return Measure(
        metric="PSNR",
        value=inf if identical and not len(finite) else found.value,
        low=found.low,
        high=found.high,
        pairs=len(scores),
        identical=identical,
        paper=paper,
    )


def _mean(metric: str, scores: NDArray[np.float64], num_resamples: int, paper: Mapping[str, Decimal]) -> Measure:
    if not len(scores):
        return Measure(metric=metric, value=None, pairs=0, paper=paper)
    low, high = bootstrap_interval(scores, num_resamples=num_resamples) if len(scores) > 1 else (None, None)
    return Measure(metric=metric, value=float(scores.mean()), low=low, high=high, pairs=len(scores), paper=paper)


def _frechet(cell: pl.DataFrame, settings: ReportSettings, paper: Mapping[str, Decimal]) -> Measure:
    """The distance of the two sets, with an interval as wide as the bootstrap's on resampled pairs, centred on it.

    Resampling repeats pictures, which alone raises a Fréchet distance: the bootstrap's own interval may lie wholly
    above the value.
    """
    split, unsplit = paired_arrays(cell, "features")
    if len(split) < 2:
        return Measure(metric=settings.names.frechet, value=None, pairs=len(split), paper=paper)
    split, unsplit = _in_their_span(split, unsplit)
    value = frechet_distance(split, unsplit)
    low, high = bootstrap_interval((split, unsplit), frechet_distance, num_resamples=settings.num_set_resamples)
    half = (high - low) / 2
    return Measure(
        metric=settings.names.frechet,
        value=value,
        low=max(0.0, value - half),
        high=value + half,
        pairs=len(split),
        paper=paper,
    )


def _in_their_span(
    split: NDArray[np.float64], unsplit: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The features in an orthonormal basis of what these pictures span: fewer numbers, the same distances.

    A Fréchet distance does not change under rotation, nor without directions in which no picture has anything. With
    fewer pictures than features this makes the bootstrap several times faster.
    """
    if 2 * len(split) >= split.shape[1]:
        return split, unsplit
    basis = np.linalg.qr(np.concatenate([split, unsplit]).T).Q
    return split @ basis, unsplit @ basis


def _unsplit_split_change(
    name: str, column: str, cell: pl.DataFrame, statistic: Statistic, num_resamples: int
) -> tuple[Measure, ...]:
    split, unsplit = paired_arrays(cell, column)
    pairs = len(split)
    if pairs < 2:
        return tuple(Measure(metric=f"{name}, {what}", value=None, pairs=pairs) for what in _WHAT)

    def change(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
        return statistic(ours) - statistic(theirs)

    low, high = bootstrap_interval((split, unsplit), change, num_resamples=num_resamples)
    values = (statistic(unsplit), statistic(split), change(split, unsplit))
    return tuple(
        Measure(metric=f"{name}, {what}", value=value, low=ends[0], high=ends[1], pairs=pairs)
        for what, value, ends in zip(_WHAT, values, ((None, None), (None, None), (low, high)), strict=True)
    )


def _plain_mean(scores: NDArray[np.float64]) -> float:
    return float(scores.mean())


def paired_arrays(cell: pl.DataFrame, column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One row a picture: what the split pictures have in a column, and their references in the same order."""
    pairs = cell.select(column, f"reference_{column}").drop_nulls()
    split, unsplit = (_array(pairs[name]) for name in pairs.columns)
    return split, unsplit


def _array(series: pl.Series) -> NDArray[np.float64]:
    if isinstance(series.dtype, pl.List) and len(series):
        series = series.list.to_array(series.list.len()[0])
    return series.to_numpy().astype(np.float64)
