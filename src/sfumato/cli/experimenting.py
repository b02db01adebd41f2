"""The run behind ``sfumato experiment``."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import polars as pl
from rich.console import Console

from sfumato.experiments.folder import claim_folder
from sfumato.experiments.grid import Sweep
from sfumato.experiments.networks import NetworkChoice, load_networks
from sfumato.experiments.ppidm_fidelity.comparisons import ReportSettings
from sfumato.experiments.ppidm_fidelity.figures import write_figures
from sfumato.experiments.ppidm_fidelity.report import write_report
from sfumato.experiments.ppidm_fidelity.study import (
    ABLATION_CLOUDS,
    StudySettings,
    native_size,
    ppidm_fidelity,
)
from sfumato.experiments.prompts import PromptSet, read_prompt_set
from sfumato.experiments.rows import PictureRow, RowStore, read_pictures
from sfumato.experiments.running import Extent, Shard, batches_of, run
from sfumato.experiments.scoring import scored
from sfumato.experiments.workers import LocalWorkers, Workers
from sfumato.models.folder import ModelFolder, find_model
from sfumato.protocols.layer_split.spec import Merge
from sfumato.protocols.plain.spec import Plain


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """What the command line asked for."""

    prompts: list[str]
    out: Path
    models: list[str]
    clouds: str
    merge: str
    steps: int
    step_counts: str
    limit: int | None
    ablation_limit: int | None
    shard: str
    batch_size: int
    workers: int | None
    threads: int
    ray: str | None
    networks: str
    tables_only: bool


def run_study(request: StudyRequest) -> None:
    """Computes what is missing, scores it, and writes tables and figures of what is there.

    Raises:
        ValueError: wrong usage, found before anything is computed.
        SfumatoError: the sweep had to stop; what was finished is kept.
    """
    console = Console(stderr=True)
    extent = Extent(limit=request.limit, ablation_limit=request.ablation_limit, shard=shard_from(request.shard))
    models = [find_model(m) for m in request.models]
    sweep = _sweep(request, models)
    networks = load_networks(network_choice(request.networks))
    batches_of(sweep, extent)
    claim_folder(request.out, sweep)
    if not request.tables_only:
        with _workers(request) as workers:
            computed = run(sweep, extent, request.out, workers, console)
        console.print(f"{computed} pictures computed; rows in {request.out / 'rows'}")
    with LocalWorkers(request.workers, request.threads) as workers:
        frame = scored(request.out, networks.choice, workers, console)
    settings = ReportSettings(
        names=networks.names,
        own_sizes={m.name: native_size(m)[:2] for m in models},
        num_inference_steps=request.steps,
        num_clouds=ABLATION_CLOUDS,
    )
    _report(request.out, frame, settings, console)


def _report(out: Path, frame: pl.DataFrame, settings: ReportSettings, console: Console) -> None:
    if frame.filter(pl.col("protocol") != Plain.name).is_empty():
        console.print("No pair is whole yet, so there are no tables: let the sweep run on.")
        return
    places = RowStore(out / "rows", PictureRow).places()
    with console.status("drawing tables and figures"):
        tables = write_report(out, frame, settings)
        figures = write_figures(out, frame, cache(lambda case: read_pictures([case], places)[0]), settings)
    written = (*tables, *figures)
    console.print("written: " + ", ".join(map(str, written)), soft_wrap=True)


def network_choice(given: str) -> Any:
    """Reads ``--networks``.

    Raises:
        ValueError: unknown; lists the known ones.
    """
    if given not in get_args(NetworkChoice):
        raise ValueError(f"--networks must be one of {', '.join(get_args(NetworkChoice))}, got {given!r}")
    return given


def _sweep(request: StudyRequest, models: list[ModelFolder]) -> Sweep:
    merges: Any = tuple(request.merge.split(","))
    if unknown := [m for m in merges if m not in get_args(Merge)]:
        raise ValueError(f"--merge must be among {', '.join(get_args(Merge))}, got {', '.join(unknown)}")
    settings = StudySettings(
        num_clouds=_numbers(request.clouds, "--clouds"),
        merges=merges,
        steps=request.steps,
        step_counts=_numbers(request.step_counts, "--step-counts"),
        batch_size=request.batch_size,
    )
    sets = [_prompt_set(each) for each in request.prompts]
    if len({s.name for s in sets}) < len(sets):
        raise ValueError("two prompt sets have one name: name each once, with all its files")
    return ppidm_fidelity(models, sets, settings)


def _prompt_set(given: str) -> PromptSet:
    name, equals, files = given.partition("=")
    if not name or not equals or not files:
        raise ValueError(f"--prompts must be NAME=FILE[,FILE...], got {given!r}")
    return read_prompt_set(name, [Path(f) for f in files.split(",")])


def _numbers(given: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(n) for n in given.split(","))
    except ValueError:
        raise ValueError(f"{option} must be numbers with commas between them, got {given!r}") from None


def shard_from(given: str) -> Shard:
    """Reads ``I/K``.

    Raises:
        ValueError: it is something else.
    """
    index, slash, count = given.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal() or not 1 <= int(index) <= int(count):
        raise ValueError(f"--shard must be I/K with I from 1 to K, got {given!r}")
    return Shard(int(index), int(count))


def _workers(request: StudyRequest) -> Workers:
    if request.ray is None:
        return LocalWorkers(request.workers, request.threads)
    from sfumato.experiments.ray_workers import RayWorkers

    return RayWorkers(request.ray, request.threads)
