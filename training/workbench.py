"""What every training script shares: where runs are kept, progress bars, checkpoints and loss curves.

Import this module before torch: on two cores OpenMP's spinning barriers cost more than the arithmetic.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

RUNS = Path(__file__).parent / "runs"
BUNDLED = Path(__file__).parents[1] / "src/sfumato/models/bundled/portraits"
RESULTS = Path(__file__).parents[1] / "docs/results/portraits"


def steps(first: int, total: int, label: str) -> Iterator[tuple[int, Progress]]:
    """Count from `first` to `total` behind a progress bar; yields the step and the bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, refresh_per_second=1) as bar:
        task = bar.add_task(label, total=total, completed=first)
        for step in range(first, total):
            yield step, bar
            bar.advance(task)


def save_checkpoint(name: str, state: dict[str, Any]) -> None:
    """Write `runs/<name>.pt` so that a crash while writing keeps the previous one."""
    RUNS.mkdir(parents=True, exist_ok=True)
    partial = RUNS / f"{name}.partial"
    torch.save(state, partial)
    partial.replace(RUNS / f"{name}.pt")


def load_checkpoint(name: str) -> dict[str, Any] | None:
    """The last state saved under this name, or None when there is none."""
    path = RUNS / f"{name}.pt"
    return torch.load(path, weights_only=False) if path.exists() else None


class LossCurve:
    """Losses of a run, kept in `runs/<name>.csv` across resumptions and drawn to `runs/<name>.png`."""

    def __init__(self, name: str, *, first_step: int, every: int = 20) -> None:
        self._path = RUNS / f"{name}.csv"
        self._every = every
        self._sum, self._count = 0.0, 0
        RUNS.mkdir(parents=True, exist_ok=True)
        kept = [row for row in self.rows() if row[0] <= first_step]
        with self._path.open("w", newline="") as file:
            csv.writer(file).writerows(kept)

    def rows(self) -> list[tuple[int, float]]:
        """All (step, mean loss) pairs so far."""
        if not self._path.exists():
            return []
        with self._path.open(newline="") as file:
            return [(int(step), float(loss)) for step, loss in csv.reader(file)]

    def add(self, step: int, loss: float) -> None:
        """Record one loss; means over `every` steps are written."""
        self._sum, self._count = self._sum + loss, self._count + 1
        if self._count == self._every:
            with self._path.open("a", newline="") as file:
                csv.writer(file).writerow((step, f"{self._sum / self._count:.6f}"))
            self._sum, self._count = 0.0, 0

    def draw(self) -> None:
        """Plot the curve."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        rows = self.rows()
        figure, axes = pyplot.subplots(figsize=(7, 4))
        axes.semilogy([step for step, _ in rows], [loss for _, loss in rows], linewidth=0.8)
        axes.set(xlabel="step", ylabel="loss", title=self._path.stem)
        axes.grid(visible=True, which="both", alpha=0.3)
        figure.savefig(self._path.with_suffix(".png"), dpi=110, bbox_inches="tight")
        pyplot.close(figure)
