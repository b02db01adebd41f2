"""Tables, findings, panels and rows of a study, each written whole over those of an earlier call."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import polars as pl

from sfumato.errors import ExperimentError
from sfumato.experiments.inversion_quality.cells import Cell
from sfumato.experiments.inversion_quality.computing import Workbench
from sfumato.experiments.inversion_quality.findings import findings
from sfumato.experiments.inversion_quality.measured import METRICS, Measured, measured
from sfumato.experiments.inversion_quality.plan import Entry, Table
from sfumato.experiments.inversion_quality.published import PAPER_CUTS, published
from sfumato.experiments.inversion_quality.running import row_store
from sfumato.experiments.inversion_quality.side_by_side import panels
from sfumato.experiments.inversion_quality.table_text import (
    INCEPTION,
    detail_table,
    findings_table,
    gains_line,
    layout_table,
    paper_figure,
    settings_lines,
    summary_table,
)
from sfumato.files import write_whole

_NOTES: Final = """\
- Pictures are painted portraits that no bundled network was trained on; the paper's are of ImageNet. In brackets
  beside a figure of the first table of each section: the paper's, for the cut that is named in the heading.
- *DO* moves pixels, *DB* a latent through the decoder, *DMB* a latent through the whole diffusion model. In a black box
  a trained network gives the pixels or the latent.
- *PSNR* is the usual one. *Eq. 14* is the paper's formula of that name, with the mean absolute error. The paper's
  figure stands beside both: above 30.1 dB Eq. 14 would need a mean error below a quarter of a level of 255, so its
  figures do not seem to come from its formula.
- *IS-portraits* is the Inception Score's formula over the bundled encoder; it compares within these tables only, it
  cannot exceed the number of pictures, and few were made. *attributes*: the share of attributes that this encoder
  reads alike in guess and original.
- Brackets in the second table of each section: the same attacker without features, the mean over draws. *Leakage* is
  the difference, with the interval in which the mean lies for 95 of 100 such sets of pictures. White-box DO starts from
  grey, DB and DMB are compared with pictures of the model, black boxes with the mean picture of their questions.
- Seconds are those of a cell, training included, on processor cores that other work shared.
- At `portraits-clip` the encoder behind *attributes* and *IS-portraits* is the target itself: they say there how well
  an attack met its own aim, and not what a person sees.
- Settings that are not named are the methods' defaults."""
_HOW_TO_TELL: Final = """\
Differences are paired: the same pictures both ways, first minus second, a clip counting as one. Brackets: where the
mean lies for 95 of 100 such sets. A claim *holds* where the whole interval is above 0, *does not hold* where it is
below, and otherwise *cannot be told*; where a claim is that nothing is gained, the interval is held against the gain
that it names. With few pictures intervals are somewhat too narrow. Settings are those of the tables: either way may be
far from where it would end."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that is known of a study."""

    tables: dict[str, Table]
    """Of the whole plan; those without a finished cell are left out of the text."""
    rows: pl.DataFrame
    bench: Workbench

    def find(self, cell: Cell) -> Measured | None:
        """A cell's numbers, if it is finished."""
        return self._measured.get(cell)

    @cached_property
    def _measured(self) -> dict[Cell, Measured]:
        cells = dict.fromkeys(entry.cell for table in self.tables.values() for entry in table.entries)
        found = {cell: measured(cell, self.bench.name_of(cell), self.rows) for cell in cells}
        return {cell: each for cell, each in found.items() if each is not None}

    @property
    def begun(self) -> list[Table]:
        """Tables of which a cell is finished."""
        return [table for table in self.tables.values() if any(self.find(entry.cell) for entry in table.entries)]


def all_rows(out: Path, rows: Path | None, cells: Mapping[str, Cell]) -> pl.DataFrame:
    """Rows of the study's folder, and those of a file where they are missing and of the settings of today.

    Args:
        out: folder of the study.
        rows: as `write_report` exports them.
        cells: of the plan, by name.

    Raises:
        ExperimentError: a file is damaged or of another kind, or the folder's rows have other settings.
    """
    own = row_store(out).read()
    for name, changed in _changed(own, cells).items():
        raise ExperimentError(
            f"{out} holds rows of {cells[name].method} that were computed with another {' and '.join(changed)} than it "
            "has by now: name a new folder with --out"
        )
    if rows is None:
        return own
    try:
        given = pl.read_parquet(rows).select(own.columns).cast(own.schema)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ExperimentError(
            f"{rows} holds no rows of this study, or is damaged: give the rows.parquet that an earlier one wrote"
        ) from error
    current = given.filter(~pl.col("cell").is_in(list(_changed(given, cells))))
    return pl.concat([own, current.join(own, on="case", how="anti")]).sort("case")


def _changed(rows: pl.DataFrame, cells: Mapping[str, Cell]) -> dict[str, list[str]]:
    """Cells whose rows have other settings than they would have now, and which."""
    stored = dict(rows.select("cell", "settings").unique().iter_rows())
    found = {name: cells[name].changed_settings(text) for name, text in stored.items() if name in cells}
    return {name: changed for name, changed in found.items() if changed}


def finished_cells(rows: pl.DataFrame) -> set[str]:
    """Names of cells that have rows; a cell's are written together."""
    return set(rows["cell"])


def write_report(report: Report, out: Path) -> list[Path]:
    """Writes ``tables.md``, ``findings.md``, ``tables.csv``, ``rows.parquet`` (without pictures) and panels.

    Raises:
        OSError: a file cannot be written; the old one is kept.
    """
    contents = {
        "tables.md": _tables_text(report).encode(),
        "findings.md": _findings_text(report).encode(),
        "tables.csv": pl.DataFrame(list(_lines(report))).write_csv(float_precision=4).encode(),
    }
    for table in report.begun:
        drawn = panels(table, report.find, report.bench.picture_size)
        contents |= {f"panel-{table.key}-{target}.png": content for target, content in drawn.items()}
    for name, content in contents.items():
        _write(out / name, content)
    exported = report.rows.with_columns(picture=pl.lit(b""))
    write_whole(out / "rows.parquet", lambda stream: exported.write_parquet(stream, compression="zstd"))
    return [*(out / name for name in contents), out / "rows.parquet"]


def _tables_text(report: Report) -> str:
    parts = ["# Feature inversion: the paper's tables, here and there", _NOTES]
    for table in report.begun:
        parts += [f"## {table.title}", "\n".join(settings_lines(table)), layout_table(table, report.find)]
        if gain := gains_line(table):
            parts.append(gain)
        parts.append(detail_table(table, report.find))
    found = [each for table in report.begun for entry in table.entries if (each := report.find(entry.cell))]
    commits, devices = _several(each.commit for each in found), _several(each.frame["device"][0] for each in found)
    parts.append(f"Computed by commits {commits}, on {devices}; model {report.bench.model.name}.")
    return "\n\n".join(parts) + "\n"


def _findings_text(report: Report) -> str:
    parts = [
        "# Feature inversion: which of the paper's claims hold here",
        _HOW_TO_TELL,
    ]
    found = findings(report.tables, report.find)
    parts.append(summary_table(found))
    for claim, group in groupby(found, key=lambda each: each.claim):
        parts += [f"## {claim[0].upper()}{claim[1:]}", findings_table(list(group))]
    return "\n\n".join(parts) + "\n"


def _lines(report: Report) -> Iterator[dict[str, Any]]:
    """A figure a line."""
    for table in report.begun:
        for entry in table.entries:
            if found := report.find(entry.cell):
                about = _about(table, entry, found)
                paper = published(table.key, entry.column, entry.arm)
                for line in _figures(found):
                    yield {**about, **line, "paper": paper_figure(METRICS.get(line["metric"], INCEPTION), paper)}


def _about(table: Table, entry: Entry, found: Measured) -> dict[str, Any]:
    return {
        "table": table.key,
        "method": entry.arm,
        "column": entry.column,
        "target": entry.cell.target,
        "layer": entry.cell.layer,
        "attack": entry.cell.method,
        "settings": found.frame["settings"][0],
        "pictures": entry.cell.num_pictures,
        "seconds": found.seconds,
        "commit": found.commit,
        "paper_cut": PAPER_CUTS.get(table.key, {}).get(entry.column),
    }


def _figures(found: Measured) -> Iterator[dict[str, Any]]:
    for name in METRICS:
        ends = found.leakage_interval(name)
        yield {
            "metric": name,
            "value": found.mean(name),
            "prior_only": found.prior_mean(name),
            "leakage": float(found.leakage(name).mean()),
            "leakage_low": ends.low if ends else None,
            "leakage_high": ends.high if ends else None,
        }
    yield {
        "metric": "inception_score_portraits",
        "value": found.inception,
        "prior_only": found.prior_inception,
        "leakage": found.inception - found.prior_inception,
        "leakage_low": None,
        "leakage_high": None,
    }


def _several(names: Iterator[str]) -> str:
    return ", ".join(sorted(set(names)))


def _write(file: Path, content: bytes) -> None:
    write_whole(file, lambda stream: stream.write(content))
