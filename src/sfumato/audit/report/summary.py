"""The table that ends an audit: for each setting and secret the worst row."""

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from sfumato.audit.leakage import Verdict
from sfumato.audit.report.findings import read_findings
from sfumato.audit.report.ranking import Cell, Headline, headlines, matrix
from sfumato.audit.report.wording import attack_words, clouds, interval, signed, together

_STYLES = {Verdict.LEAKS: "bold red", Verdict.NOTHING_FOUND: "green", Verdict.INCONCLUSIVE: "yellow"}


def summary_table(out: Path) -> Table:
    """Reads an audit's folder, and tells the largest leakage of each secret, by whom, and how sure it is.

    Raises:
        ExperimentError: nothing was audited there, or a file is damaged.
    """
    findings = read_findings(out)
    columns = headlines(findings)
    table = Table(title="Largest leakage of all attacks, with the transcript less without", title_justify="left")
    for heading in ("setting", "seen by", "secret"):
        table.add_column(heading)
    for heading in ("leakage", "95 of 100 lie in"):
        table.add_column(heading, justify="right")
    for heading in ("verdict", "attack"):
        table.add_column(heading)
    before = None
    for row in matrix(findings, columns):
        if before not in (None, row.setting):
            table.add_section()
        name = escape(row.setting) if before != row.setting else ""
        before = row.setting
        told = set()
        for column, cell in zip(columns, row.cells, strict=True):
            if cell.line is not None or (cell.has_lacks and column.secret not in told):
                table.add_row(name, *_words(column, cell, row.size))
                name = ""
                told.add(column.secret)
    table.caption, table.caption_justify = escape("\n".join(findings.warnings)) or None, "left"
    return table


def _words(column: Headline, cell: Cell, size: int) -> tuple[str, ...]:
    if (line := cell.line) is None:
        return together(size), column.secret, "", "", "nothing to work on", ""
    secret = f"{column.secret}: {column.words}"
    is_told = line.verdict is not Verdict.INCONCLUSIVE
    return (
        clouds(line.clouds),
        secret,
        signed(line.row.leakage, line.metric) if is_told else "",
        interval(line.row.interval, line.metric) if is_told else "",
        f"[{_STYLES[line.verdict]}]{line.verdict.value}[/]",
        escape(attack_words(line.attack, line.attack_settings)),
    )
