"""Tables in the paper's layout, and what stands behind each of their cells."""

from collections.abc import Callable, Sequence
from typing import Final, get_args

from sfumato.experiments.inversion_quality.cells import Cell
from sfumato.experiments.inversion_quality.findings import COMPARED, Difference, Finding, Verdict
from sfumato.experiments.inversion_quality.measured import METRICS, Measured
from sfumato.experiments.inversion_quality.plan import Entry, Table
from sfumato.experiments.inversion_quality.published import PAPER_CUTS, SECTION_GAINS, Published, published
from sfumato.experiments.markdown import markdown_table
from sfumato.metrics.intervals import Interval

Find = Callable[[Cell], Measured | None]
MISSING: Final = "not computed"
INCEPTION: Final = "IS-portraits"
_PAIRED: Final = ("2", "5")
"""Tables that print without / with words in one cell."""
_LINES: Final = (INCEPTION, *METRICS.values())
_PLACES: Final = {"SSIM": 3, "attributes": 2, INCEPTION: 2}


def layout_table(table: Table, find: Find) -> str:
    """A table as the paper lays it out, the paper's figure in brackets where it has one."""
    headings = [_heading(table, column) for column in table.columns]
    lines = []
    for metric in _LINES:
        if table.key in _PAIRED:
            lines.append([metric, *(_pair(table, metric, column, find) for column in table.columns)])
            continue
        for arm in table.arms:
            lines.append([metric, arm, *(_place(table, metric, arm, column, find) for column in table.columns)])
    before = ["metric"] if table.key in _PAIRED else ["metric", "method"]
    is_number = [False] * len(before) + [True] * len(headings)
    return markdown_table([*before, *headings], lines, is_number)


def settings_lines(table: Table) -> list[str]:
    """What each line of a table was computed with, where it is not the method's default."""
    found: dict[str, None] = {}
    for entry in table.entries:
        found[f"- {entry.arm}: `{entry.cell.method}`, {_settings(entry.cell)}; {_count(entry.cell)}"] = None
    return list(found)


def detail_table(table: Table, find: Find) -> str:
    """A line for each cell: scores with those of the prior alone in brackets, leakage with its interval, seconds."""
    lines = [_detail(entry, find(entry.cell)) for entry in table.entries]
    heads = ["cut", "method", "pictures", INCEPTION, *METRICS.values(), "leakage, dB", "leakage, SSIM", "seconds"]
    return markdown_table(heads, lines, [False, False] + [True] * (len(heads) - 2))


def findings_table(findings: Sequence[Finding]) -> str:
    """The comparisons of one claim."""
    heads = ["compared", "pairs", *(METRICS[metric] for metric in COMPARED)]
    lines = [
        [
            each.about,
            str(each.num_pairs) if each.num_pairs else MISSING,
            *(_told(each.differences.get(metric)) for metric in COMPARED),
        ]
        for each in findings
    ]
    return markdown_table(heads, lines, [False, True, False, False, False])


def summary_table(findings: Sequence[Finding]) -> str:
    """For each claim how many of its comparisons bear it out, by metric; those that are not computed are left out."""
    claims = dict.fromkeys(each.claim for each in findings)
    lines = []
    for claim in claims:
        compared = [each for each in findings if each.claim == claim and each.num_pairs]
        lines.append([claim, str(len(compared)), *(_counted(compared, metric) for metric in COMPARED)])
    heads = ["claim", "compared", *(METRICS[metric] for metric in COMPARED)]
    return markdown_table(heads, lines, [False, True, False, False, False])


def gains_line(table: Table) -> str | None:
    """What the paper states instead of a table."""
    gain = SECTION_GAINS.get(table.key)
    if gain is None:
        return None
    return (
        f"The paper states the gain only: {gain.inception:+g} of IS, {gain.psnr:+g} dB, {gain.ssim:+g} of SSIM. "
        f"Here it is {table.arms[0]} minus {table.arms[1]}, in the findings."
    )


def in_brackets(interval: Interval | None, places: int) -> str:
    """The ends of an interval."""
    return "" if interval is None else f" [{interval.low:.{places}f}, {interval.high:.{places}f}]"


def paper_figure(metric: str, figures: Published | None) -> float | None:
    """The paper's figure that stands beside a metric."""
    if figures is None:
        return None
    beside = {INCEPTION: figures.inception, "PSNR, dB": figures.psnr, "Eq. 14, dB": figures.psnr, "SSIM": figures.ssim}
    return beside.get(metric)


def _heading(table: Table, column: str) -> str:
    paper = PAPER_CUTS.get(table.key, {}).get(column)
    return f"{column} ({paper})" if paper else column


def _value(metric: str, found: Measured) -> str:
    if metric == INCEPTION:
        return f"{found.inception:.2f}"
    name = next(name for name, shown in METRICS.items() if shown == metric)
    return f"{found.mean(name):.{_PLACES.get(metric, 1)}f}"


def _place(table: Table, metric: str, arm: str, column: str, find: Find) -> str:
    cell = table.cell(arm, column)
    if cell is None:
        return ""
    found, paper = find(cell), paper_figure(metric, published(table.key, column, arm))
    shown = MISSING if found is None else _value(metric, found)
    return shown if paper is None else f"{shown} ({paper:g})"


def _pair(table: Table, metric: str, column: str, find: Find) -> str:
    cells = [table.cell(arm, column) for arm in table.arms]
    found = [None if cell is None else find(cell) for cell in cells]
    shown = " / ".join(MISSING if each is None else _value(metric, each) for each in found)
    papers = [paper_figure(metric, published(table.key, column, arm)) for arm in table.arms]
    if any(paper is None for paper in papers):
        return shown
    return f"{shown} ({' / '.join(f'{paper:g}' for paper in papers)})"


def _settings(cell: Cell) -> str:
    return " ".join(f"{name}={value}" for name, value in cell.settings)


def _count(cell: Cell) -> str:
    if cell.num_frames > 1:
        return f"{len(cell.seeds)} clips of {cell.num_frames} frames"
    return f"{len(cell.seeds)} pictures"


def _detail(entry: Entry, found: Measured | None) -> list[str]:
    where = f"{entry.cell.target} {entry.cell.layer}"
    arm = entry.arm if entry.column == where else f"{entry.arm}, {entry.column}"
    if found is None:
        return [where, arm, MISSING, *[""] * (len(METRICS) + 4)]
    return [
        where,
        arm,
        str(entry.cell.num_pictures),
        f"{found.inception:.2f} ({found.prior_inception:.2f})",
        *(f"{_value(shown, found)} ({found.prior_mean(m):.{_PLACES.get(shown, 1)}f})" for m, shown in METRICS.items()),
        f"{found.leakage('psnr').mean():.1f}{in_brackets(found.leakage_interval('psnr'), 1)}",
        f"{found.leakage('ssim').mean():.2f}{in_brackets(found.leakage_interval('ssim'), 2)}",
        f"{found.seconds:.0f}",
    ]


def _told(found: Difference | None) -> str:
    if found is None:
        return "cannot be told"
    return f"{found.mean:+.2f}{in_brackets(found.interval, 2)}: {found.verdict}"


def _counted(findings: Sequence[Finding], metric: str) -> str:
    verdicts = [each.differences[metric].verdict for each in findings if metric in each.differences]
    told = [f"{verdict} in {verdicts.count(verdict)}" for verdict in get_args(Verdict) if verdict in verdicts]
    return ", ".join(told) or "cannot be told"
