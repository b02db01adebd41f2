"""Which curves the rows of a protocol allow: leakage by step, by layer, by number of clouds, by coalition size."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sfumato.audit.leakage import Verdict
from sfumato.audit.report.ranking import Headline
from sfumato.audit.report.wording import attack_words, measure, size_of
from sfumato.audit.tables import Line

_PARTS = ("conv_in", "down", "mid", "up", "conv_out")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One row."""

    x: float
    line: Line


@dataclass(frozen=True, kw_only=True)
class Series:
    """Rows that differ in one thing."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One plot."""

    by: str
    """What the x axis is."""
    title: str
    metric: str
    series: tuple[Series, ...]
    ticks: tuple[str, ...] = ()
    """Names of x = 0, 1, …; empty where x is a number."""


def curves(rows: Iterable[Line], columns: Sequence[Headline]) -> list[Curve]:
    """Every curve of one protocol that has two points or more; inconclusive rows are left out.

    Where several rows share a place, by other coalitions of the same size or by other attacks, the largest stands.

    Args:
        rows: of one protocol.
        columns: metrics that are worth a curve.
    """
    known = {(column.secret, column.metric): column for column in columns}
    told = [line for line in rows if (line.secret, line.metric) in known and line.verdict is not Verdict.INCONCLUSIVE]
    made = []
    for column in known.values():
        own = [line for line in told if (line.secret, line.metric) == (column.secret, column.metric)]
        made += [curve for name in ("step", "layer") for curve in _by_setting(own, column, name)]
        made += [curve for of in (_by_clouds, _by_coalition) if (curve := of(own, column)) is not None]
    return made


def _by_setting(rows: Sequence[Line], column: Headline, name: str) -> list[Curve]:
    """Of each attack that has a setting of this name, as one cloud makes it."""
    having = [line for line in rows if size_of(line.clouds) == 1 and _of(line, name) is not None]
    ticks = tuple(sorted({str(_of(line, name)) for line in having}, key=_layer_order)) if name == "layer" else ()
    made = []
    for attack in dict.fromkeys(line.attack for line in having):
        own = [line for line in having if line.attack == attack]
        found = _curve(
            own,
            column,
            by=f"{name} that the attack reads",
            title=f"by {name}, {attack}",
            name=partial(_variant, name),
            x=(lambda line: ticks.index(str(_of(line, name)))) if ticks else (lambda line: float(_of(line, name))),
            ticks=ticks,
        )
        made += [] if found is None else [found]
    return made


def _of(line: Line, name: str) -> Any:
    """A setting of the attack; None where it has none, or a step that is not a number."""
    value = json.loads(line.attack_settings).get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if (is_number if name == "step" else isinstance(value, str) or is_number) else None


def _variant(without: str, line: Line) -> str:
    rest = {key: value for key, value in json.loads(line.attack_settings).items() if key != without}
    words = attack_words(line.attack, json.dumps(rest)).split(" ")[1:]
    return ", ".join([line.setting, *words])


def _layer_order(name: str) -> tuple[int, list[int], str]:
    place = next((number for number, part in enumerate(_PARTS) if name.startswith(part)), len(_PARTS))
    return place, [int(digits) for digits in re.findall(r"\d+", name)], name


def _by_clouds(rows: Sequence[Line], column: Headline) -> Curve | None:
    return _curve(
        [line for line in rows if size_of(line.clouds) == 1],
        column,
        by="number of clouds, of which one looks",
        title="by number of clouds, largest of all attacks",
        name=lambda line: " ".join(word for word in line.setting.split(" ") if not word.startswith("num_clouds=")),
        x=lambda line: float(json.loads(line.spec).get("num_clouds", 1)),
    )


def _by_coalition(rows: Sequence[Line], column: Headline) -> Curve | None:
    return _curve(
        rows,
        column,
        by="clouds that pool what they saw",
        title="by coalition, largest of all attacks",
        name=lambda line: line.setting,
        x=lambda line: float(size_of(line.clouds)),
    )


def _curve(
    rows: Sequence[Line],
    column: Headline,
    *,
    by: str,
    title: str,
    name: Callable[[Line], str],
    x: Callable[[Line], float],
    ticks: tuple[str, ...] = (),
) -> Curve | None:
    found: dict[str, dict[float, Line]] = {}
    for line in rows:
        points = found.setdefault(name(line), {})
        place = x(line)
        if place not in points or line.row.leakage > points[place].row.leakage:
            points[place] = line
    series = tuple(
        Series(name=each, points=tuple(Point(x=place, line=line) for place, line in sorted(points.items(), key=_place)))
        for each, points in found.items()
        if len(points) > 1
    )
    if not series:
        return None
    words = f"{column.secret.capitalize()}, {measure(column.metric).label}"
    return Curve(by=by, title=f"{words}: {title}", metric=column.metric, series=series, ticks=ticks)


def _place(point: tuple[float, Line]) -> float:
    return point[0]
