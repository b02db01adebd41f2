"""The worst of many rows: what a reader asks first, for each setting, coalition and secret."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sfumato.audit.leakage import Verdict
from sfumato.audit.report.findings import Findings
from sfumato.audit.report.wording import measure, size_of
from sfumato.audit.tables import Line

_RANK = {Verdict.INCONCLUSIVE: 0, Verdict.NOTHING_FOUND: 1, Verdict.LEAKS: 2}
_HEADLINES = {
    "picture": ("psnr", "psnr outside", "attributes"),
    "prompt": ("tokens",),
    "attributes": ("all attributes",),
    "choice": ("right",),
    "seed": ("exact",),
}
"""The metrics of each secret that stand for it; the others are in its tables."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """A column of the overview."""

    secret: str
    metric: str

    @property
    def words(self) -> str:
        """Secret, metric and unit."""
        told = measure(self.metric)
        return f"{told.label}, {told.unit}" if told.unit else told.label


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The worst row of one setting, coalition size and headline."""

    line: Line | None
    """None where nothing was tried, or no attack had what it works on."""
    num_rows: int
    num_inconclusive: int
    has_lacks: bool
    """Some attack on this secret was not shown what it works on."""


@dataclass(frozen=True, kw_only=True)
class MatrixRow:
    """One setting before coalitions of one size."""

    setting: str
    size: int
    cells: tuple[Cell, ...]


def worst(rows: Iterable[Line]) -> Line | None:
    """The row of the largest leakage among those that leak; if none does, of those that found nothing; an inconclusive
    one only where all are.
    """
    return max(rows, key=lambda line: (_RANK[line.verdict], line.row.leakage), default=None)


def worst_rows(rows: Sequence[Line]) -> list[Line]:
    """The worst of each setting, coalition size, secret and metric, in the order of the rows."""
    kinds: dict[tuple[str, int, str, str], list[Line]] = {}
    for line in rows:
        kinds.setdefault((line.setting, size_of(line.clouds), line.secret, line.metric), []).append(line)
    return [found for group in kinds.values() if (found := worst(group)) is not None]


def headlines(findings: Findings) -> list[Headline]:
    """The columns that this audit has rows for, or attacks that lacked something."""
    tried = {(line.secret, line.metric) for line in findings.lines}
    lacked = {lack.secret for lack in findings.lacks}
    found = []
    for secret, metrics in _HEADLINES.items():
        own = [metric for metric in metrics if (secret, metric) in tried]
        if not own and secret in lacked:
            own = [metrics[0]]
        found += [Headline(secret=secret, metric=metric) for metric in own]
    known = {(each.secret, each.metric) for each in found}
    secrets = {each.secret for each in found}
    found += [
        Headline(secret=s, metric=m) for s, m in sorted(tried - known) if s not in secrets and s not in _HEADLINES
    ]
    return found


def matrix(findings: Findings, columns: Sequence[Headline]) -> list[MatrixRow]:
    """The overview: a row for each setting and coalition size that was tried."""
    made = []
    for setting in findings.settings:
        own = findings.of(setting.name)
        lacks = [lack for lack in findings.lacks if lack.setting == setting.name]
        sizes = {size_of(line.clouds) for line in own} | {size_of(lack.clouds) for lack in lacks}
        for size in sorted(sizes):
            rows = [line for line in own if size_of(line.clouds) == size]
            lacked = {lack.secret for lack in lacks if size_of(lack.clouds) == size}
            cells = tuple(_cell(rows, column, lacked) for column in columns)
            made.append(MatrixRow(setting=setting.name, size=size, cells=cells))
    return made


def _cell(rows: Sequence[Line], column: Headline, lacked: set[str]) -> Cell:
    own = [line for line in rows if (line.secret, line.metric) == (column.secret, column.metric)]
    return Cell(
        line=worst(own),
        num_rows=len(own),
        num_inconclusive=sum(line.verdict is Verdict.INCONCLUSIVE for line in own),
        has_lacks=column.secret in lacked,
    )
