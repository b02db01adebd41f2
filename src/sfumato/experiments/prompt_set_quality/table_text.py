"""The study's tables in words."""

from collections.abc import Sequence
from typing import Final

from sfumato.experiments.markdown import markdown_table
from sfumato.experiments.metric_names import MetricNames
from sfumato.experiments.prompt_set_quality.attention import AttentionLine
from sfumato.experiments.prompt_set_quality.expenses import ExpenseLine, ReuseLine
from sfumato.experiments.prompt_set_quality.judging import Share, Spread
from sfumato.experiments.prompt_set_quality.lines import QualityLine, Seconds
from sfumato.experiments.prompt_set_quality.portrait_prompts import SLOTS
from sfumato.experiments.prompt_set_quality.reuse_effect import EffectLine
from sfumato.metrics.intervals import Interval
from sfumato.portraits.attributes import VALUES

NOTHING: Final = "-"


def quality_table(lines: Sequence[QualityLine], names: MetricNames) -> str:
    """How good the pictures of one size of the set are."""
    headings = [
        "way",
        "pictures",
        f"{names.frechet} to painter ↓",
        f"{names.frechet} to server only ↓",
        f"{names.clip} ↑",
        "its change from server only",
        "all requested shown ↑",
        "shared words shown ↑",
    ]
    rows = [
        [
            line.way,
            str(line.pictures),
            _spread(line.to_painter),
            _spread(line.to_server),
            f"{line.clip_score:.2f}",
            _change(line),
            _share(line.requested),
            _share(line.shared),
        ]
        for line in lines
    ]
    return markdown_table(headings, rows, [False] + [True] * 7)


def value_table(lines: Sequence[QualityLine], names: MetricNames) -> str:
    """Right pictures by the requested value, and by whether the own candidate is the pivot."""
    slots = SLOTS[lines[0].num_candidates]
    values = [(name, value) for name in VALUES if name in slots for value in VALUES[name]]
    headings = [
        *("way", *(value for _, value in values), "own is the pivot", "own is another"),
        *(f"{names.perceptual} to server only, own is the pivot ↓", "own is another ↓"),
    ]
    rows = [
        [
            *(line.way, *(_counts(line.by_value[key]) for key in values), _counts(line.pivot), _counts(line.other)),
            *map(_distance, (line.pivot_distance, line.other_distance)),
        ]
        for line in lines
    ]
    return markdown_table(headings, rows, [False] + [True] * (len(headings) - 1))


def expense_table(lines: Sequence[ExpenseLine]) -> str:
    """What one size of the set costs whom."""
    headings = [
        "way",
        "server, GFLOP",
        "to server only",
        "server, s",
        "to server only, same round",
        "client, GFLOP",
        "client, s",
        "up, B",
        "down, B",
    ]
    rows = [
        [
            line.way,
            f"{line.counted.server_flops / 1e9:.1f}",
            f"{line.relative_flops:.2f}",
            _seconds(line.server),
            _seconds(line.relative),
            f"{line.counted.client_flops / 1e9:.1f}",
            _seconds(line.client),
            f"{line.counted.sent_bytes:,.0f}",
            f"{line.counted.received_bytes:,.0f}",
        ]
        for line in lines
    ]
    return markdown_table(headings, rows, [False] + [True] * 8)


def reuse_table(lines: Sequence[ReuseLine]) -> str:
    """What map reuse saves."""
    headings = ["N", "k-r-s", "FLOPs", "seconds, all server steps", "seconds, one step that reuses"]
    rows = [
        [str(line.num_candidates), line.setting, f"{line.flops:.3f}", _seconds(line.seconds), _seconds(line.step)]
        for line in lines
    ]
    return markdown_table(headings, rows, [True, False, True, True, True])


def effect_table(lines: Sequence[EffectLine], names: MetricNames) -> str:
    """What map reuse does to pictures."""
    headings = [
        *("N", "k-r-s", "prompts", "pictures", f"{names.perceptual} to server only without reuse ↓"),
        *("its change by reuse", f"change of {names.clip} by reuse"),
    ]
    rows = [
        [
            *(str(line.num_candidates), line.setting, line.whose, str(line.pictures), f"{line.without:.3f}"),
            *(_interval(*line.distance, decimals=3), _interval(*line.clip, decimals=2)),
        ]
        for line in lines
    ]
    return markdown_table(headings, rows, [True, False, False, True, True, True, True])


def attention_table(lines: Sequence[AttentionLine]) -> str:
    """One attention layer with its own maps and with the pivot's."""
    headings = [
        *("layers of", "tokens", "context", "heads", "width of a head", "N"),
        *("own maps by", "own maps, ms", "pivot's map by", "pivot's map, ms", "ratio"),
    ]
    rows = [
        [
            line.architecture,
            *(str(n) for n in (line.tokens, line.context_tokens, line.heads, line.head_width, line.num_candidates)),
            line.own_kernel,
            f"{1000 * line.own.middle:.1f}",
            line.pivot_kernel,
            f"{1000 * line.pivot.middle:.1f}",
            _seconds(line.ratio),
        ]
        for line in lines
    ]
    return markdown_table(headings, rows, [False, *[True] * 5, False, True, False, True, True])


def _spread(spread: Spread | None) -> str:
    return NOTHING if spread is None else f"{spread.value:.2f} ± {spread.deviation:.2f}"


def _change(line: QualityLine) -> str:
    if line.clip_change is None:
        return NOTHING
    return _interval(*line.clip_change, decimals=2)


def _interval(value: float, ends: Interval, *, decimals: int) -> str:
    numbers = [f"{n:+.{decimals}f}" for n in (value, *ends)]
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"


def _share(share: Share) -> str:
    return NOTHING if share.value is None else f"{100 * share.value:.1f} %"


def _distance(distance: float | None) -> str:
    return NOTHING if distance is None else f"{distance:.3f}"


def _counts(share: Share) -> str:
    return f"{share.right}/{share.asked}" if share.asked else NOTHING


def _seconds(found: Seconds | None) -> str:
    if found is None:
        return NOTHING
    if found.rounds == 1:
        return f"{found.middle:.2f}"
    return f"{found.middle:.2f} ({found.least:.2f} to {found.most:.2f})"
