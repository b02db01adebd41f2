"""Numbers of a finished cell, from its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sfumato.experiments.inversion_quality.cells import Cell
from sfumato.metrics.intervals import Interval, bootstrap_interval
from sfumato.metrics.sets import inception_score

METRICS: Final[Mapping[str, str]] = {
    "psnr": "PSNR, dB",
    "mean_absolute_psnr": "Eq. 14, dB",
    "ssim": "SSIM",
    "attributes": "attributes",
}
"""Of single pictures, as columns are headed."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A finished cell."""

    cell: Cell
    frame: pl.DataFrame
    """Its rows, in the order of its pictures."""

    @property
    def num_independent(self) -> int:
        """Portraits, or clips, whose frames count as one."""
        return len(self.cell.seeds)

    @property
    def seconds(self) -> float:
        """Of all pictures."""
        return float(self.frame["seconds"].sum())

    @property
    def commit(self) -> str:
        """That computed it; several with commas."""
        return ", ".join(sorted({name or "unknown" for name in self.frame["commit"]}))

    def values(self, metric: str) -> NDArray[np.float64]:
        """One number a portrait or clip, the mean of its frames."""
        return self._by_seed(pl.col(metric))

    def leakage(self, metric: str) -> NDArray[np.float64]:
        """What the features gave away: the guess's score minus that of the prior alone."""
        return self._by_seed(pl.col(metric) - pl.col(f"prior_{metric}"))

    def mean(self, metric: str) -> float:
        """Of the guesses."""
        return float(self.values(metric).mean())

    def prior_mean(self, metric: str) -> float:
        """Of guesses without features."""
        return float(self._by_seed(pl.col(f"prior_{metric}")).mean())

    def leakage_interval(self, metric: str) -> Interval | None:
        """Of the mean leakage; None for a single picture."""
        return interval_of(self.leakage(metric))

    @property
    def inception(self) -> float:
        """Inception Score of all guesses, by the bundled encoder."""
        return inception_score(_stacked(self.frame["classes"].to_list()))

    @property
    def prior_inception(self) -> float:
        """The same without features, the mean over draws."""
        draws = int(self.frame["draws"][0])
        rows = _stacked(self.frame["prior_classes"].to_list()).reshape(len(self.frame), draws, -1)
        return float(np.mean([inception_score(rows[:, draw]) for draw in range(draws)]))

    def _by_seed(self, values: pl.Expr) -> NDArray[np.float64]:
        means = self.frame.group_by("seed", maintain_order=True).agg(values.mean().alias("mean"))
        by_seed = dict(zip(means["seed"].to_list(), means["mean"].to_list(), strict=True))
        return np.array([by_seed[seed] for seed in self.cell.seeds])


def interval_of(values: NDArray[np.float64]) -> Interval | None:
    """Where the mean lies in 95 of 100 such sets; None for one value, or where one is infinite."""
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    return bootstrap_interval(values)


def measured(cell: Cell, name: str, rows: pl.DataFrame) -> Measured | None:
    """A cell's numbers, if it is finished.

    Args:
        cell: which.
        name: of its rows.
        rows: of the whole study.
    """
    frame = rows.filter(pl.col("cell") == name).sort("place")
    return Measured(cell=cell, frame=frame) if len(frame) == cell.num_pictures else None


def _stacked(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64)
