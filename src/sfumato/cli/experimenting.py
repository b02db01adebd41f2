"""The run behind ``sfumato experiment``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from sfumato.experiments.folder import claim_folder
from sfumato.experiments.grid import Sweep
from sfumato.experiments.ppidm_fidelity import StudySettings, ppidm_fidelity
from sfumato.experiments.prompts import PromptSet, read_prompt_set
from sfumato.experiments.running import Extent, Shard, batches_of, run
from sfumato.experiments.workers import LocalWorkers, Workers
from sfumato.models.folder import find_model
from sfumato.protocols.layer_split.spec import Merge


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


def run_study(request: StudyRequest) -> None:
    """Computes what is missing.

    Raises:
        ValueError: wrong usage, found before anything is computed.
        SfumatoError: the sweep had to stop; what was finished is kept.
    """
    console = Console(stderr=True)
    extent = Extent(limit=request.limit, ablation_limit=request.ablation_limit, shard=_shard(request.shard))
    sweep = _sweep(request)
    batches_of(sweep, extent)
    claim_folder(request.out, sweep)
    with _workers(request) as workers:
        computed = run(sweep, extent, request.out, workers, console)
    console.print(f"{computed} pictures computed; rows in {request.out / 'rows'}")


def _sweep(request: StudyRequest) -> Sweep:
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
    return ppidm_fidelity([find_model(m) for m in request.models], sets, settings)


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


def _shard(given: str) -> Shard:
    index, slash, count = given.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal() or not 1 <= int(index) <= int(count):
        raise ValueError(f"--shard must be I/K with I from 1 to K, got {given!r}")
    return Shard(int(index), int(count))


def _workers(request: StudyRequest) -> Workers:
    if request.ray is None:
        return LocalWorkers(request.workers, request.threads)
    from sfumato.experiments.ray_workers import RayWorkers

    return RayWorkers(request.ray, request.threads)
