"""Which of the paper's claims the rows bear out: paired differences, their intervals, and what follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sfumato.experiments.inversion_quality.cells import Cell
from sfumato.experiments.inversion_quality.measured import Measured, interval_of
from sfumato.experiments.inversion_quality.plan import (
    BLACK_TEXT_CUTS,
    CLIP,
    CUTS,
    DEEP,
    MIXED,
    RESNET,
    SMOOTHED,
    TEXT_CUTS,
    UNMIXED,
    UNSMOOTHED,
    VIT,
    WITH_WORDS,
    WITHOUT_WORDS,
    Table,
    column_of,
    steps_column,
)
from sfumato.metrics.intervals import Interval

Verdict = Literal["holds", "does not hold", "cannot be told"]
COMPARED: Final = ("psnr", "ssim", "attributes")
_SATURATED_SSIM: Final = 0.01
"""What the paper's SSIM gains from 20 to 30 steps, and calls stable."""

Find = Callable[[Cell], Measured | None]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric's mean difference over pairs of pictures, with its interval."""

    mean: float
    interval: Interval | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One comparison under a claim."""

    claim: str
    about: str
    """Which two ways, and where."""
    num_pairs: int
    """0 where a cell is not computed."""
    differences: dict[str, Difference]


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    claim: str
    about: str
    better: Cell | None
    """What the claim says is better."""
    worse: Cell | None
    """None: the better one's own prior alone."""
    against_prior: bool = False
    most_gain: dict[str, float] | None = None
    """The claim is that nothing above this is gained, by metric."""


def findings(tables: dict[str, Table], find: Find) -> list[Finding]:
    """Every comparison, in the order of claims.

    Args:
        tables: of the plan.
        find: gives the numbers of a cell, or None.
    """
    return [_found(each, find) for each in _comparisons(tables)]


def difference(gains: NDArray[np.float64], most_gain: float | None = None) -> Difference:
    """The mean gain and what follows from its interval.

    Args:
        gains: one a pair, above 0 where the claim's side is better.
        most_gain: the claim is that no more than this is gained; None: that something is.
    """
    interval = interval_of(gains)
    verdict: Verdict = "cannot be told"
    if interval is not None and most_gain is None:
        verdict = "holds" if interval.low > 0 else "does not hold" if interval.high < 0 else verdict
    elif interval is not None and most_gain is not None:
        verdict = "holds" if interval.high <= most_gain else "does not hold" if interval.low > most_gain else verdict
    return Difference(mean=float(gains.mean()), interval=interval, verdict=verdict)


def _found(each: _Comparison, find: Find) -> Finding:
    better = None if each.better is None else find(each.better)
    worse = None if each.worse is None else find(each.worse)
    if better is None or (worse is None and not each.against_prior):
        return Finding(claim=each.claim, about=each.about, num_pairs=0, differences={})
    metrics = COMPARED if each.most_gain is None else tuple(each.most_gain)
    limits = each.most_gain or {}
    gains = {m: better.leakage(m) if worse is None else better.values(m) - worse.values(m) for m in metrics}
    return Finding(
        claim=each.claim,
        about=each.about,
        num_pairs=better.num_independent,
        differences={metric: difference(values, limits.get(metric)) for metric, values in gains.items()},
    )


def _comparisons(tables: dict[str, Table]) -> list[_Comparison]:
    return [
        *_methods(tables),
        *_words(tables),
        *_clips(tables),
        *_steps(tables["3"]),
        *_depth(tables),
        *_kinds(tables),
        *_knowledge(tables),
        *_questions(tables["ablation"]),
    ]


def _methods(tables: dict[str, Table]) -> list[_Comparison]:
    deep = [column_of(cut) for cut in (DEEP, (VIT, "L3"), (CLIP, "output"))]
    return [
        _Comparison(
            claim=f"{better} is better than {worse} at deep cuts",
            about=f"{'white' if key == '1' else 'black'} box, {column}",
            better=tables[key].cell(better, column),
            worse=tables[key].cell(worse, column),
        )
        for better, worse in (("DMB", "DB"), ("DB", "DO"))
        for key in ("1", "4")
        for column in deep
    ]


def _words(tables: dict[str, Table]) -> list[_Comparison]:
    places = [("2", "white", cut) for cut in TEXT_CUTS] + [("5", "black", cut) for cut in BLACK_TEXT_CUTS]
    return [
        _Comparison(
            claim="words help at the deepest cuts",
            about=f"{kind} box, {column_of(cut)}",
            better=tables[key].cell(WITH_WORDS, column_of(cut)),
            worse=tables[key].cell(WITHOUT_WORDS, column_of(cut)),
        )
        for key, kind, cut in places
    ]


def _clips(tables: dict[str, Table]) -> list[_Comparison]:
    given = (
        ("the smoothing term helps clips", "clips", SMOOTHED, UNSMOOTHED),
        ("the pointwise convolution helps clips", "clips-black", MIXED, UNMIXED),
    )
    column = column_of(DEEP)
    return [
        _Comparison(
            claim=claim,
            about=f"{column}, {better} against {worse}",
            better=tables[key].cell(better, column),
            worse=tables[key].cell(worse, column),
        )
        for claim, key, better, worse in given
    ]


def _steps(table: Table) -> list[_Comparison]:
    def at(count: int) -> Cell | None:
        return table.cell("DMB", steps_column(count))

    gains = [
        _Comparison(
            claim="more sampling steps are better up to 20",
            about=f"{column_of(DEEP)}, {more} against {fewer}",
            better=at(more),
            worse=at(fewer),
        )
        for fewer, more in ((1, 5), (5, 10), (10, 20))
    ]
    stable = _Comparison(
        claim=f"more sampling steps than 20 gain no more than {_SATURATED_SSIM} of SSIM",
        about=f"{column_of(DEEP)}, 30 against 20",
        better=at(30),
        worse=at(20),
        most_gain={"ssim": _SATURATED_SSIM},
    )
    return [*gains, stable]


def _depth(tables: dict[str, Table]) -> list[_Comparison]:
    shallow, deep = column_of((RESNET, "L4")), column_of(DEEP)
    falls = [
        _Comparison(
            claim="what DMB finds gets worse with depth",
            about=f"{'white' if key == '1' else 'black'} box, {shallow} against {deep}",
            better=tables[key].cell("DMB", shallow),
            worse=tables[key].cell("DMB", deep),
        )
        for key in ("1", "4")
    ]
    places = [("1", "DMB", column_of(cut)) for cut in (DEEP, (CLIP, "output"))]
    places += [("2", WITHOUT_WORDS, column_of(cut)) for cut in TEXT_CUTS if cut[0] != CLIP]
    places += [("4", "DMB", column_of(cut)) for cut in (DEEP, (CLIP, "output"))]
    still = [
        _Comparison(
            claim="depth is no protection: deep features still give pictures away",
            about=f"{'black' if key == '4' else 'white'} box, {column}, against the prior alone",
            better=tables[key].cell(arm, column),
            worse=None,
            against_prior=True,
        )
        for key, arm, column in places
    ]
    relative = _Comparison(
        claim="relative depth is what counts",
        about="needs two networks of one kind and different depth; no two are bundled",
        better=None,
        worse=None,
    )
    return [*falls, *still, relative]


def _kinds(tables: dict[str, Table]) -> list[_Comparison]:
    network, transformer = column_of((RESNET, "L8")), column_of((VIT, "L3"))
    return [
        _Comparison(
            claim="transformers are harder to invert than convolutional networks",
            about=f"{'white' if key == '1' else 'black'} box, {arm}, {network} against {transformer}, both half-way",
            better=tables[key].cell(arm, network),
            worse=tables[key].cell(arm, transformer),
        )
        for key in ("1", "4")
        for arm in ("DMB", "DB", "DO")
    ]


def _knowledge(tables: dict[str, Table]) -> list[_Comparison]:
    return [
        _Comparison(
            claim="a white box is inverted better than a black box",
            about=f"{arm}, {column_of(cut)}",
            better=tables["1"].cell(arm, column_of(cut)),
            worse=tables["4"].cell(arm, column_of(cut)),
        )
        for arm in ("DMB", "DB", "DO")
        for cut in CUTS
    ]


def _questions(table: Table) -> list[_Comparison]:
    columns: Sequence[str] = table.columns
    return [
        _Comparison(
            claim="more questions are better",
            about=f"{arm}, {column_of(DEEP)}, {more} against {fewer}",
            better=table.cell(arm, more),
            worse=table.cell(arm, fewer),
        )
        for arm in table.arms
        for fewer, more in [*pairwise(columns), (columns[0], columns[-1])]
    ]
