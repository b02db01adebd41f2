"""Which requested attributes a picture shows, and how good a set of pictures is."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sfumato.experiments.prompt_set_quality.portrait_prompts import PortraitPrompt
from sfumato.experiments.prompt_set_quality.ways import Way
from sfumato.metrics.intervals import Interval, bootstrap_interval
from sfumato.metrics.sets import frechet_distance
from sfumato.portraits.captions import mentioned
from sfumato.protocols.prompt_set.candidates import candidate_set
from sfumato.protocols.prompt_set.candidates.candidate_set import PIVOT

PAINTER: Final = "painter"
"""Stands among the ways for pictures that the painter made of the same prompts."""
_FRECHET_RESAMPLES: Final = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """One picture beside what was asked for."""

    way: str
    num_candidates: int
    index: int
    is_pivot: bool
    """Whether the client's own candidate is the one whose attention maps are reused."""
    requested: Mapping[str, str]
    read: Mapping[str, str]
    shared: Mapping[str, str]
    """What all candidates of its set name alike."""
    clip_score: float
    features: NDArray[np.float32]
    server_distance: float | None = None
    """Perceptual distance to the picture of the server alone; None of a painting."""

    def is_right(self, name: str) -> bool:
        """Whether it shows one attribute as requested."""
        return self.read[name] == self.requested[name]

    @property
    def is_all_right(self) -> bool:
        """Whether it shows all that was requested."""
        return all(self.is_right(name) for name in self.requested)

    @property
    def shared_right(self) -> "Share":
        """How many shared attributes that can be read it shows."""
        readable = {name: value for name, value in self.shared.items() if name in self.read}
        return Share(sum(self.read[name] == value for name, value in readable.items()), len(readable))


class Share(NamedTuple):
    """So many of so many."""

    right: int
    asked: int

    @property
    def value(self) -> float | None:
        """Between 0 and 1; None of nothing."""
        return self.right / self.asked if self.asked else None


def finished_prompts(
    frame: pl.DataFrame, prompts: Iterable[PortraitPrompt], ways: Iterable[Way]
) -> tuple[PortraitPrompt, ...]:
    """Prompts that have the pictures of all ways, so that ways are compared over the same ones."""
    there = set(frame.select("num_candidates", "prompt_index", "way").iter_rows())
    names = [way.name for way in ways]
    return tuple(p for p in prompts if all((p.num_candidates, p.index, name) in there for name in names))


def judged(frame: pl.DataFrame, prompts: Iterable[PortraitPrompt], way: str | None = None) -> list[Judged]:
    """Pictures of a frame of scores, in the order of their prompts.

    Args:
        frame: one row a picture.
        prompts: rows of other prompts are left out.
        way: what to call them where the frame does not say.
    """
    known = {(p.num_candidates, p.index): p for p in prompts}
    rows = frame.sort("num_candidates", "prompt_index").iter_rows(named=True)
    return [
        _judged(row, known[key], way) for row in rows if (key := (row["num_candidates"], row["prompt_index"])) in known
    ]


def _judged(row: Mapping[str, Any], prompt: PortraitPrompt, way: str | None) -> Judged:
    named = mentioned(prompt.text)
    return Judged(
        way=way or str(row["way"]),
        num_candidates=prompt.num_candidates,
        index=prompt.index,
        is_pivot=_is_pivot(prompt),
        requested=prompt.requested,
        read=json.loads(str(row["read"])),
        shared={name: value for name, value in named.items() if name not in prompt.requested},
        clip_score=row["clip_score"],
        features=np.asarray(row["features"], np.float32),
        server_distance=row.get("server_distance"),
    )


@cache
def _is_pivot(prompt: PortraitPrompt) -> bool:
    return candidate_set(prompt.text, max_candidates=prompt.num_candidates).index == PIVOT


def share_right(pictures: Iterable[Judged], name: str | None = None, value: str | None = None) -> Share:
    """How many pictures show what was requested.

    Args:
        pictures: to be counted.
        name: one attribute; by default all that were requested.
        value: count only pictures of which this value was requested.
    """
    counted = [p for p in pictures if name is None or value is None or p.requested[name] == value]
    return Share(sum(p.is_all_right if name is None else p.is_right(name) for p in counted), len(counted))


def share_of_shared(pictures: Iterable[Judged]) -> Share:
    """How many of the attributes that all candidates name alike are shown."""
    counts = [p.shared_right for p in pictures]
    return Share(sum(c.right for c in counts), sum(c.asked for c in counts))


def mean_distance(pictures: Iterable[Judged]) -> float | None:
    """Mean perceptual distance to the server's own pictures; None of nothing."""
    found = [p.server_distance for p in pictures if p.server_distance is not None]
    return float(np.mean(found)) if found else None


class Spread(NamedTuple):
    """A value, and how far resampled pictures move it: their standard deviation."""

    value: float
    deviation: float


def distance(pictures: Sequence[Judged], references: Sequence[Judged]) -> Spread | None:
    """Fréchet distance of two sets of pictures; None of fewer than two."""
    if min(len(pictures), len(references)) < 2:
        return None
    ours, theirs = (np.stack([p.features for p in some]) for some in (pictures, references))
    draws = np.random.default_rng(0)
    again = []
    for _ in range(_FRECHET_RESAMPLES):
        places = draws.integers(len(ours), size=len(ours))
        # Pairs stay together where they are pairs.
        other = places if len(theirs) == len(ours) else draws.integers(len(theirs), size=len(theirs))
        again.append(frechet_distance(ours[places], theirs[other]))
    return Spread(frechet_distance(ours, theirs), float(np.std(again)))


def clip_change(pictures: Sequence[Judged], references: Sequence[Judged]) -> tuple[float, Interval] | None:
    """Mean difference of CLIP scores, picture by picture of the same prompts; None of fewer than two."""
    scores = {p.index: p.clip_score for p in references}
    changes = np.array([p.clip_score - scores[p.index] for p in pictures if p.index in scores])
    if len(changes) < 2:
        return None
    return float(changes.mean()), bootstrap_interval(changes)
