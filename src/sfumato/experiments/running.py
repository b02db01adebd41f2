"""Runs what a sweep still lacks, and says how long it will take."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sfumato.experiments.grid import Batch, Sweep, shard, unfinished
from sfumato.experiments.picturing import compute, current_commit
from sfumato.experiments.rows import PictureRow, RowStore
from sfumato.experiments.workers import Workers
from sfumato.version import VERSION

_LINE_SECONDS = 60.0


@dataclass(frozen=True)
class Shard:
    """One machine's part of a sweep: ``number`` of ``total``, from 1."""

    number: int = 1
    total: int = 1


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much of a sweep one call computes."""

    limit: int | None = None
    """Prompts of each set."""
    ablation_limit: int | None = None
    """Prompts of the ablations; by default as many as ``limit``."""
    shard: Shard = Shard()


def batches_of(sweep: Sweep, extent: Extent) -> list[Batch]:
    """The batches of one call, finished or not.

    Raises:
        ValueError: there are none.
    """
    batches = shard(
        sweep.batches(limit=extent.limit, ablation_limit=extent.ablation_limit), extent.shard.number, extent.shard.total
    )
    if not batches:
        raise ValueError("there is nothing to compute: raise --limit, or ask for fewer shards")
    return batches


def run(sweep: Sweep, extent: Extent, out: Path, workers: Workers, console: Console) -> int:
    """Computes the pictures that are not there yet, and adds their rows to ``out/rows``.

    Returns:
        How many pictures were computed.

    Raises:
        ExperimentError: a worker died, or a row could not be written; everything finished is kept.
    """
    store = RowStore(out / "rows", PictureRow)
    finished = store.finished()
    batches = batches_of(sweep, extent)
    todo = [rest for b in batches if (rest := unfinished(b, finished))]
    task = partial(compute, version=VERSION, commit=current_commit())
    computed = 0
    with _progress(console, batches, todo) as advance:
        for batch, rows in workers.map(task, todo):
            store.add(rows)
            computed += len(rows)
            advance(batch)
    return computed


@contextmanager
def _progress(console: Console, batches: list[Batch], todo: list[Batch]) -> "Iterator[_Meter]":
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[pictures]} of {task.fields[total_pictures]} pictures"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=False, elapsed_when_finished=False),
    )
    with Progress(*columns, console=console, transient=True, speed_estimate_period=600) as progress:
        yield _Meter(console, progress, batches, todo)


class _Meter:
    """Progress by work, not by pictures: a large picture of many steps counts for more."""

    def __init__(self, console: Console, progress: Progress, batches: list[Batch], todo: list[Batch]):
        self._console = console
        self._progress = progress
        self._total = sum(len(b.prompts) for b in batches)
        self._pictures = self._total - sum(len(b.prompts) for b in todo)
        self._left = sum(b.work for b in todo)
        self._whole = self._left
        self._started = self._last_line = monotonic()
        done = sum(b.work for b in batches) - self._left
        self._task = progress.add_task(
            "generating",
            total=done + self._left,
            pictures=self._pictures,
            total_pictures=self._total,
        )
        progress.update(self._task, completed=done)

    def __call__(self, batch: Batch) -> None:
        self._pictures += len(batch.prompts)
        self._left -= batch.work
        self._progress.update(self._task, advance=batch.work, pictures=self._pictures)
        if not self._console.is_terminal and monotonic() - self._last_line > _LINE_SECONDS:
            self._last_line = monotonic()
            minutes = (self._last_line - self._started) / (self._whole - self._left) * self._left / 60
            self._console.print(f"{self._pictures} of {self._total} pictures, {minutes:.0f} min left")
