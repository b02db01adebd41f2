"""The run behind ``sfumato experiment inversion``."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from sfumato.cli.devices import device_from
from sfumato.cli.experimenting import shard_from
from sfumato.experiments.folder import claim_folder
from sfumato.experiments.inversion_quality.computing import Workbench
from sfumato.experiments.inversion_quality.plan import Table, cells_of, plan
from sfumato.experiments.inversion_quality.report import Report, all_rows, finished_cells, write_report
from sfumato.experiments.inversion_quality.running import run, shard_of
from sfumato.experiments.inversion_quality.scale import scale_from
from sfumato.models.folder import find_model


@dataclass(frozen=True, kw_only=True)
class InversionStudyRequest:
    """What the command line asked for."""

    out: Path
    tables: list[str]
    model: str
    pictures: int | None
    scale: str
    settings: list[str]
    shard: str
    rows: Path | None
    device: str
    tables_only: bool


@dataclass(frozen=True)
class Study:
    """What all cells of a folder have in common; a cell is found by its settings, so that scales may share a folder."""

    model_fingerprint: str

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {"experiment": "inversion", "model_fingerprint": self.model_fingerprint}


def run_inversion_study(request: InversionStudyRequest) -> None:
    """Computes what is missing, and writes tables, findings and panels of what is there.

    Raises:
        ValueError: wrong usage, found before anything is computed.
        SfumatoError: a cell could not be computed; what was finished is kept.
    """
    console = Console(stderr=True)
    scale = scale_from(request.scale, request.settings, request.pictures)
    tables = plan(scale)
    cells = shard_of(cells_of(_chosen(request, tables)), shard_from(request.shard))
    for cell in cells:
        cell.attack  # noqa: B018 - a setting out of range is found before anything is computed
    bench = Workbench(model=find_model(request.model), device=device_from(request.device), draws=scale.draws)
    claim_folder(request.out, Study(bench.model.unet_fingerprint))
    by_name = {bench.name_of(cell): cell for cell in cells_of(list(tables.values()))}
    known = finished_cells(all_rows(request.out, request.rows, by_name))
    if not request.tables_only:
        number = run(cells, bench, request.out, known, console)
        console.print(f"{number} cells computed; {request.out / 'rows'}", soft_wrap=True)
    report = Report(tables=tables, rows=all_rows(request.out, request.rows, by_name), bench=bench)
    if not report.begun:
        console.print("No cell of these settings is there yet, so there are no tables: let the study run on.")
        return
    console.print("written: " + ", ".join(map(str, write_report(report, request.out))), soft_wrap=True)


def _chosen(request: InversionStudyRequest, tables: dict[str, Table]) -> list[Table]:
    if unknown := [key for key in request.tables if key not in tables]:
        raise ValueError(f"--table must be one of {', '.join(tables)}, got {unknown[0]!r}")
    return [tables[key] for key in dict.fromkeys(request.tables)] or list(tables.values())
