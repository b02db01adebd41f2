"""The paper's trends, each tried on the pictures of a sweep: the same prompt and seed under two settings or more.

Source: Wang et al. 2025, "PPIDM", Sections V-C and V-D. The last trend is ours.
"""

from collections.abc import Sequence
from itertools import combinations
from math import log2, log10

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sfumato.experiments.ppidm_fidelity import published
from sfumato.experiments.ppidm_fidelity.comparisons import PICTURE, ReportSettings, compared_rows
from sfumato.experiments.ppidm_fidelity.verdicts import (
    Claim,
    Trend,
    Verdict,
    paired_psnr,
    tried_above,
    tried_below,
    tried_small,
    untested,
)

HALF_OF_THE_ERROR = 10 * log10(2)
"""In dB: what halving the mean squared error gains."""

HARDLY = 0.5
"""In dB: a smaller difference is called hardly one. The paper's largest among its n is 0.29."""

NO_LOSS = 60.0
"""In dB: with errors of one at most, 14 bytes of 15 agree."""


def trends(frame: pl.DataFrame, settings: ReportSettings) -> tuple[Trend, ...]:
    """Tries every trend on every model; one without two pictures that have all its settings is not tested.

    Raises:
        ValueError: as :func:`sfumato.experiments.ppidm_fidelity.comparisons.compared_rows`.
    """
    rows = compared_rows(frame, settings)
    steps = pl.col("num_inference_steps") == settings.num_inference_steps
    clouds, paper = pl.col("num_clouds") == settings.num_clouds, pl.col("merge") != "exact"
    own_size, whole = pl.col("relative_size") == 1, pl.col("layers") == "all"
    found = []
    for model in sorted(set(rows["model"])):
        of_model = rows.filter(pl.col("model") == model)
        found += [
            _group_norm(model, of_model.filter(steps, own_size, clouds, paper), settings),
            _steps(model, of_model.filter(own_size, clouds, whole, paper), settings),
            _size(model, of_model.filter(steps, clouds, whole, paper), settings),
            _clouds(model, of_model.filter(steps, own_size, whole, paper), settings),
            _exact(model, of_model.filter(steps, own_size, whole)),
        ]
    return tuple(found)


def _group_norm(model: str, rows: pl.DataFrame, settings: ReportSettings) -> Trend:
    means = {name: float(line.psnr) for name, line in published.BY_LAYERS.items()}
    claim = Claim(
        model=model,
        claim="group norm dominates the loss",
        unit="dB",
        meaning="mean PSNR of the variants that split no group norm, less that of those that do. Holds above "
        f"{HALF_OF_THE_ERROR:.1f} dB: then group norm makes more than half of the squared error",
        paper=_gain(list(means), np.array([list(means.values())]))[0],
    )
    layers, decibels = paired_psnr(rows.filter(pl.col("layers").is_in(list(means))), "layers")
    if len({_splits_norm(name) for name in layers}) < 2:
        return untested(claim)
    return tried_above(claim, HALF_OF_THE_ERROR, _gain(layers, decibels), settings.num_resamples)


def _splits_norm(layers: str) -> bool:
    return "GN" in layers or layers == "all"


def _gain(layers: Sequence[str], decibels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without group norm less with it, a number a picture."""
    splits = np.array([_splits_norm(name) for name in layers])
    return decibels[:, ~splits].mean(axis=1) - decibels[:, splits].mean(axis=1)


def _steps(model: str, rows: pl.DataFrame, settings: ReportSettings) -> Trend:
    printed = {count: float(line.psnr) for count, line in published.BY_STEPS.items()}
    claim = Claim(
        model=model,
        claim="more steps lower PSNR",
        unit="dB per 10 steps",
        meaning="slope of PSNR over the number of steps, by least squares for each picture. Holds below 0",
        paper=_slopes([s / 10 for s in printed], np.array([list(printed.values())]))[0],
    )
    steps, decibels = paired_psnr(rows, "num_inference_steps")
    return tried_below(claim, 0.0, _slopes([s / 10 for s in steps], decibels), settings.num_resamples)


def _size(model: str, rows: pl.DataFrame, settings: ReportSettings) -> Trend:
    printed = {side: float(line.psnr) for side, line in published.BY_SIZE.items()}
    claim = Claim(
        model=model,
        claim="higher resolution raises PSNR",
        unit="dB per doubling",
        meaning="slope of PSNR over the logarithm of the picture's side, by least squares for each picture. "
        "Holds above 0",
        paper=_slopes([log2(s) for s in printed], np.array([list(printed.values())]))[0],
    )
    sizes, decibels = paired_psnr(rows, "relative_size")
    return tried_above(claim, 0.0, _slopes([log2(s) for s in sizes], decibels), settings.num_resamples)


def _slopes(places: Sequence[float], decibels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The slope of each row over the places of its columns."""
    if len(places) < 2:
        return np.empty(0)
    centred = np.array(places) - np.mean(places)
    return decibels @ centred / (centred @ centred)


def _clouds(model: str, rows: pl.DataFrame, settings: ReportSettings) -> Trend:
    clouds, decibels = paired_psnr(rows, "num_clouds")
    pairs = list(combinations(range(len(clouds)), 2))
    differences = [decibels[:, b] - decibels[:, a] for a, b in pairs]
    largest = max(pairs, key=lambda p: abs((decibels[:, p[1]] - decibels[:, p[0]]).mean()), default=None)
    which = f"n = {clouds[largest[1]]} less n = {clouds[largest[0]]}" if largest else "two n"
    claim = Claim(
        model=model,
        claim="the number of clouds hardly matters",
        unit="dB",
        meaning=f"largest difference of mean PSNR between two n, here {which}, all prompt sets together, and in the "
        f"paper n = 8 less n = 2 of SDXL on Art. Holds where every difference is within {HARDLY} dB; the interval is "
        f"widened for {len(pairs)} comparisons",
        paper=_largest_published(),
    )
    return tried_small(claim, HARDLY, differences, settings.num_resamples)


def _largest_published() -> float:
    """The largest difference among n in one column of Table IV: n = 8 less n = 2, SDXL on Art."""
    by_column: dict[tuple[str, str], list[float]] = {}
    for (prompt_set, _), lines in published.BY_CLOUDS.items():
        for line in lines:
            by_column.setdefault((prompt_set, line.model), []).append(float(line.psnr))
    differences = [b - a for column in by_column.values() for a, b in combinations(column, 2)]
    return max(differences, key=abs)


def _exact(model: str, rows: pl.DataFrame) -> Trend:
    """No interval: the claim is about each picture, so the least decides."""
    keys = (*PICTURE, "num_clouds")
    both = rows.filter(pl.col("merge") == "exact").join(
        rows.filter(pl.col("merge") == "paper"), on=keys, suffix="_paper"
    )
    least, least_paper = (min(both[column], default=None) for column in ("psnr", "psnr_paper"))
    beside = "" if least_paper is None else f"; with the paper's merge the least is {least_paper:.2f} dB"
    claim = Claim(
        model=model,
        claim="exact merging removes the loss",
        unit="dB",
        meaning=f"least PSNR of any split picture with exact merging{beside}. Holds from {NO_LOSS:.0f} dB. On a prompt "
        "whose sampling is chaotic the unsplit model misses itself by as much when its batch changes",
    )
    if least is None:
        return untested(claim)
    verdict: Verdict = "holds" if least >= NO_LOSS else "does not hold"
    return Trend(claim=claim, verdict=verdict, value=least, pictures=len(both))
