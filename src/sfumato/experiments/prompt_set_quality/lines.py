"""Tables as headings and lines of figures, before they are words."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from sfumato.experiments.prompt_set_quality.judging import (
    PAINTER,
    Judged,
    Share,
    Spread,
    clip_change,
    distance,
    mean_distance,
    share_of_shared,
    share_right,
)
from sfumato.experiments.prompt_set_quality.portrait_prompts import SLOTS
from sfumato.experiments.prompt_set_quality.ways import SERVER_ONLY, Way
from sfumato.metrics.intervals import Interval
from sfumato.portraits.attributes import VALUES


@dataclass(frozen=True, kw_only=True)
class QualityLine:
    """One way at one size of the candidate set."""

    num_candidates: int
    way: str
    pictures: int
    to_painter: Spread | None
    to_server: Spread | None
    clip_score: float
    clip_change: tuple[float, Interval] | None
    requested: Share
    """Pictures that show all that was requested."""
    shared: Share
    """Attributes that all candidates name alike."""
    by_value: dict[tuple[str, str], Share]
    pivot: Share
    """Of ``requested``, where the own candidate is the pivot."""
    other: Share
    pivot_distance: float | None
    """Mean perceptual distance to the server's own picture, where the own candidate is the pivot."""
    other_distance: float | None


def quality_lines(
    pictures: Sequence[Judged], painted: Sequence[Judged], references: Sequence[Judged], ways: Sequence[Way]
) -> list[QualityLine]:
    """A line a way that has pictures, by size of the candidate set; ways that share pictures are not repeated.

    Args:
        pictures: of all ways.
        painted: one of each prompt, by the painter; none where there is no painter.
        references: the painter's, with which all are compared.
        ways: in the order of lines.
    """
    lines = []
    for size in sorted({p.num_candidates for p in pictures}):
        of_size = [[p for p in some if p.num_candidates == size] for some in (pictures, painted, references)]
        server = [p for p in of_size[0] if p.way == SERVER_ONLY.name]
        named = {way.name: [p for p in of_size[0] if p.way == way.name] for way in ways}
        for way, some in {PAINTER: of_size[1], **named}.items():
            if some:
                lines.append(_quality(way, some, server, of_size[2]))
    return lines


def _quality(way: str, pictures: list[Judged], server: list[Judged], references: list[Judged]) -> QualityLine:
    size, is_server = pictures[0].num_candidates, way == SERVER_ONLY.name
    pivot, other = ([p for p in pictures if p.is_pivot is wanted] for wanted in (True, False))
    return QualityLine(
        num_candidates=size,
        way=way,
        pictures=len(pictures),
        to_painter=distance(pictures, references),
        to_server=None if is_server else distance(pictures, server),
        clip_score=sum(p.clip_score for p in pictures) / len(pictures),
        clip_change=None if is_server else clip_change(pictures, server),
        requested=share_right(pictures),
        shared=share_of_shared(pictures),
        by_value={(name, v): share_right(pictures, name, v) for name in SLOTS[size] for v in VALUES[name]},
        pivot=share_right(pivot),
        other=share_right(other),
        pivot_distance=None if is_server else mean_distance(pivot),
        other_distance=None if is_server else mean_distance(other),
    )


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """Of one side of one way: the middle of all rounds, with the least and the most."""

    middle: float
    least: float
    most: float
    rounds: int


def seconds_of(values: Sequence[float]) -> Seconds | None:
    """Sums some rounds up; None of none."""
    if not values:
        return None
    return Seconds(middle=median(values), least=min(values), most=max(values), rounds=len(values))


def ratios(values: dict[int, float], baseline: dict[int, float]) -> Seconds | None:
    """Each round's value over the baseline's of the same round."""
    return seconds_of([value / baseline[number] for number, value in values.items() if number in baseline])
