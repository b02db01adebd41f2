"""``table.md`` and ``table.csv``: what a sweep found, for readers and for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

import polars as pl

from sfumato.experiments.ppidm_fidelity.comparisons import ReportSettings
from sfumato.experiments.ppidm_fidelity.measures import Measure
from sfumato.experiments.ppidm_fidelity.published import SD, SDXL
from sfumato.experiments.ppidm_fidelity.report_text import report_text
from sfumato.experiments.ppidm_fidelity.tables import Cell, Table, fidelity_tables
from sfumato.experiments.ppidm_fidelity.trends import trends
from sfumato.files import write_whole

_COLUMNS = {
    "table": pl.String,
    "model": pl.String,
    "prompt_set": pl.String,
    "num_clouds": pl.Int64,
    "layers": pl.String,
    "merge": pl.String,
    "num_inference_steps": pl.Int64,
    "height": pl.Int64,
    "width": pl.Int64,
    "relative_size": pl.Float64,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "pairs": pl.Int64,
    "identical": pl.Int64,
    "paper_sd15": pl.Float64,
    "paper_sdxl": pl.Float64,
}


def write_report(folder: Path, frame: pl.DataFrame, settings: ReportSettings) -> tuple[Path, Path]:
    """Writes ``table.md`` and ``table.csv``, each whole or not at all, over those of an earlier call.

    Args:
        folder: of the sweep.
        frame: one row a picture, with its scores.
        settings: what is standard, and how metrics are named.

    Raises:
        ValueError: as :func:`sfumato.experiments.ppidm_fidelity.comparisons.compared_rows`.
        OSError: a file cannot be written; the old one is kept.
    """
    tables = fidelity_tables(frame, settings)
    markdown, csv = folder / "table.md", folder / "table.csv"
    _write(markdown, report_text(frame, tables, trends(frame, settings), settings))
    _write(csv, long_form(tables).write_csv())
    return markdown, csv


def _write(path: Path, text: str) -> None:
    def write(stream: IO[bytes]) -> None:
        stream.write(text.encode())

    write_whole(path, write)


def long_form(tables: Sequence[Table]) -> pl.DataFrame:
    """Every figure of the tables on a line of its own, with the paper's beside it."""
    lines = [_line(t, cell, measure) for t in tables for cell in t.cells for measure in cell.measures]
    return pl.DataFrame(lines, schema=_COLUMNS)


def _line(table: Table, cell: Cell, measure: Measure) -> dict[str, object]:
    paper = {name: float(figure) for name, figure in measure.paper.items()}
    return {
        "table": table.number,
        **asdict(cell.setting),
        "metric": measure.metric,
        "value": measure.value,
        "low": measure.low,
        "high": measure.high,
        "pairs": measure.pairs,
        "identical": measure.identical,
        "paper_sd15": paper.get(SD),
        "paper_sdxl": paper.get(SDXL),
    }
