"""Computes the cells that are missing, one after another; other processes may work in the same folder."""

import fcntl
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from sfumato.attacks.inversion.watch import Progress
from sfumato.experiments.inversion_quality.cells import Cell
from sfumato.experiments.inversion_quality.computing import Workbench
from sfumato.experiments.inversion_quality.inverted_row import InvertedRow
from sfumato.experiments.rows import RowStore
from sfumato.experiments.running import Shard

_LINE_SECONDS = 60.0


def row_store(out: Path) -> RowStore[InvertedRow]:
    """Where a study's rows are kept."""
    return RowStore(out / "rows", InvertedRow)


def shard_of(cells: Sequence[Cell], shard: Shard) -> list[Cell]:
    """One machine's cells: each goes to the machine that has least to do so far."""
    loads = [0.0] * shard.total
    mine = []
    for cell in cells:
        least = loads.index(min(loads))
        loads[least] += cell.expected_seconds
        if least == shard.number - 1:
            mine.append(cell)
    return mine


def run(cells: Sequence[Cell], bench: Workbench, out: Path, known: Collection[str], console: Console) -> int:
    """Computes what has no rows yet; a cell that another process computes is left to it.

    Args:
        cells: in the order in which to compute them.
        bench: computes.
        out: folder of the study.
        known: names of cells whose rows lie elsewhere.
        console: for progress.

    Returns:
        How many cells were computed here.

    Raises:
        KeyboardInterrupt: Ctrl-C; finished cells and checkpoints are kept.
    """
    store = row_store(out)
    clock = _Clock(cells=cells, console=console)
    computed = 0
    with clock.shown():
        for cell in cells:
            name = bench.name_of(cell)
            if name not in known and not _finished(store, name):
                with _mine(out, name) as mine:
                    # Another process may have finished it while this one came to it.
                    if mine and not _finished(store, name):
                        clock.begin(cell)
                        store.add(bench.rows(cell, out, clock.tell))
                        rmtree(out / "checkpoints" / name, ignore_errors=True)
                        clock.computed(cell)
                        computed += 1
            clock.pass_over(cell)
    return computed


def _finished(store: RowStore[InvertedRow], name: str) -> bool:
    return f"{name}-000" in store.finished()


@contextmanager
def _mine(out: Path, name: str) -> Iterator[bool]:
    """Whether this process may compute a cell. The lock ends with the process, however that ends."""
    folder = out / "locks"
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@dataclass(kw_only=True)
class _Clock:
    """How far all cells are: their expected seconds, made true by those that were measured here."""

    cells: Sequence[Cell]
    console: Console
    _left: float = 0.0
    _expected: float = 0.0
    _measured: float = 0.0
    _cell: Cell | None = None
    _number: int = 0
    _share: float = 0.0
    _started: float = field(default_factory=monotonic)
    _said: float = 0.0
    _bar: Bar | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows a bar on a terminal; elsewhere a line a minute."""
        self._left = sum(cell.expected_seconds for cell in self.cells)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
        with Bar(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as self._bar:
            self._bar.add_task("", total=max(self._left, 1e-9))
            yield

    def begin(self, cell: Cell) -> None:
        """A cell is computed from now on."""
        self._cell, self._started, self._share = cell, monotonic(), 0.0

    def tell(self, progress: Progress) -> None:
        """One iteration of the cell was made."""
        self._share = progress.done / max(1, progress.total)
        self._show(f"{progress.stage} {progress.done}/{progress.total}")

    def computed(self, cell: Cell) -> None:
        """A cell's rows are kept."""
        self._expected += cell.expected_seconds
        self._measured += monotonic() - self._started

    def pass_over(self, cell: Cell) -> None:
        """A cell is behind, computed here or not."""
        self._left -= cell.expected_seconds
        self._number += 1
        self._share = 0.0

    def _show(self, where: str) -> None:
        assert self._cell is not None
        assert self._bar is not None
        done = self._share * self._cell.expected_seconds
        pace = self._measured / self._expected if self._expected else 1.0
        minutes = (self._left - done) * pace / 60
        cell = self._cell
        text = (
            f"cell {self._number + 1} of {len(self.cells)}: {cell.target} {cell.layer} {cell.method}, {where}; "
            f"about {minutes:.0f} min left"
        )
        total = self._bar.tasks[0].total or 0.0
        self._bar.update(self._bar.tasks[0].id, description=text, completed=total - self._left + done)
        if not self.console.is_terminal and monotonic() - self._said > _LINE_SECONDS:
            self._said = monotonic()
            self.console.print(text, soft_wrap=True)
