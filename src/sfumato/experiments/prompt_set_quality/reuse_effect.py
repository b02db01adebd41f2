"""What map reuse does to pictures, one by one: the same prompt, setting and noise with it and without."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sfumato.experiments.prompt_set_quality.judging import Judged
from sfumato.experiments.prompt_set_quality.portrait_prompts import SLOTS
from sfumato.experiments.prompt_set_quality.ways import Way
from sfumato.metrics.intervals import Interval, bootstrap_interval
from sfumato.portraits.attributes import VALUES


@dataclass(frozen=True, kw_only=True)
class EffectLine:
    """Some prompts of one size and setting."""

    num_candidates: int
    setting: str
    whose: str
    """Which prompts: where the own candidate is the pivot or not, or by a requested value."""
    pictures: int
    without: float
    """Mean perceptual distance to the server's own picture, with cache."""
    distance: tuple[float, Interval]
    """By how much reuse makes it larger."""
    clip: tuple[float, Interval]
    """By how much it makes the CLIP score larger."""


def effect_lines(pictures: Sequence[Judged], settings: Sequence[str]) -> list[EffectLine]:
    """Lines for pivots, for others and for each requested value, by size and setting, where there are two pictures."""
    lines = []
    for size in sorted({p.num_candidates for p in pictures}):
        for setting in settings:
            pairs = list(_pairs([p for p in pictures if p.num_candidates == size], setting))
            for whose, belongs in _groups(size).items():
                some = [pair for pair in pairs if belongs(pair[0])]
                if len(some) > 1:
                    lines.append(_line(size, setting, whose, some))
    return lines


def _pairs(pictures: Sequence[Judged], setting: str) -> Iterator[tuple[Judged, Judged]]:
    """Each picture with reuse, and the same without."""
    without = {p.index: p for p in pictures if p.way == Way(kind="+ cache", setting=setting).name}
    for picture in pictures:
        if picture.way == Way(kind="+ reuse", setting=setting).name and picture.index in without:
            yield picture, without[picture.index]


def _groups(size: int) -> dict[str, Callable[[Judged], bool]]:
    def asks_for(name: str, value: str) -> Callable[[Judged], bool]:
        return lambda picture: picture.requested[name] == value

    by_value = {value: asks_for(name, value) for name in SLOTS[size] for value in VALUES[name]}
    return {"own is the pivot": lambda p: p.is_pivot, "own is another": lambda p: not p.is_pivot, **by_value}


def _line(size: int, setting: str, whose: str, pairs: Sequence[tuple[Judged, Judged]]) -> EffectLine:
    distances = np.array([[p.server_distance for p in pair] for pair in pairs], np.float64)
    clips = np.array([[p.clip_score for p in pair] for pair in pairs])
    return EffectLine(
        num_candidates=size,
        setting=setting,
        whose=whose,
        pictures=len(pairs),
        without=float(distances[:, 1].mean()),
        distance=_change(distances),
        clip=_change(clips),
    )


def _change(pairs: NDArray[np.float64]) -> tuple[float, Interval]:
    changes = pairs[:, 0] - pairs[:, 1]
    return float(changes.mean()), bootstrap_interval(changes)
