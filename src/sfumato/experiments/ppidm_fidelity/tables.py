"""PPIDM's Tables IV to VII from the rows of a sweep: which pictures make which cell.

Source: Wang et al. 2025, "PPIDM", Tables IV to VII. Models of other sizes are set beside Stable Diffusion by the size
relative to their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from sfumato.experiments.ppidm_fidelity import published
from sfumato.experiments.ppidm_fidelity.comparisons import ReportSettings, compared_rows, shared_pictures
from sfumato.experiments.ppidm_fidelity.measures import Measure, fidelity_measures, own_measures
from sfumato.experiments.ppidm_fidelity.published import Published

Measuring = Callable[[pl.DataFrame, ReportSettings, tuple[Published, ...]], tuple[Measure, ...]]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the pictures of one cell have in common."""

    model: str
    prompt_set: str
    num_clouds: int
    layers: str
    num_inference_steps: int
    height: int
    width: int
    relative_size: float
    merge: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One line of a table."""

    setting: Setting
    measures: tuple[Measure, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table in the paper's layout."""

    number: str
    title: str
    varying: tuple[str, ...]
    """Fields of the setting that are columns in any case."""
    cells: tuple[Cell, ...]


def fidelity_tables(frame: pl.DataFrame, settings: ReportSettings) -> tuple[Table, ...]:
    """Makes Tables IV to VII and one of the pictures' own scores; a table without a cell is left out.

    Args:
        frame: one row a picture, with its scores.
        settings: what is standard, and how metrics are named.

    Raises:
        ValueError: as :func:`sfumato.experiments.ppidm_fidelity.comparisons.compared_rows`.
    """
    rows = compared_rows(frame, settings)
    steps = pl.col("num_inference_steps") == settings.num_inference_steps
    clouds = pl.col("num_clouds") == settings.num_clouds
    own_size, whole = pl.col("relative_size") == 1, pl.col("layers") == "all"
    standard = shared_pictures(rows.filter(steps, own_size, whole), "num_clouds")
    by_layers = _ablation(rows.filter(steps, own_size, clouds), "layers", "all")
    by_steps = _ablation(rows.filter(own_size, whole, clouds), "num_inference_steps", settings.num_inference_steps)
    by_size = _ablation(rows.filter(steps, whole, clouds), "relative_size", 1)

    def table(
        number: str, title: str, rows: pl.DataFrame, varying: str, measuring: Measuring = fidelity_measures
    ) -> Table:
        columns = ("prompt_set", varying, "merge") if varying == "num_clouds" else (varying, "merge")
        return Table(number=number, title=title, varying=columns, cells=_cells(rows, varying, settings, measuring))

    tables = (
        table("IV", "Fidelity of split pictures to unsplit ones", standard, "num_clouds"),
        table("V", "Layers on the clouds", by_layers, "layers"),
        table("VI", "Number of steps", by_steps, "num_inference_steps"),
        table("VII", "Size of the picture", by_size, "relative_size"),
        table("scores", "The pictures' own scores (not in the paper)", standard, "num_clouds", _own_measures),
    )
    return tuple(t for t in tables if t.cells)


def _own_measures(cell: pl.DataFrame, settings: ReportSettings, _: tuple[Published, ...]) -> tuple[Measure, ...]:
    return own_measures(cell, settings)


def _ablation(rows: pl.DataFrame, varying: str, standard: Any) -> pl.DataFrame:
    """Leaves out models and prompt sets that have the standard setting only."""
    others = (pl.col(varying) != standard).any().over("model", "prompt_set")
    return shared_pictures(rows.filter(others), varying)


def _cells(rows: pl.DataFrame, varying: str, settings: ReportSettings, measuring: Measuring) -> tuple[Cell, ...]:
    """One cell for each setting that has pictures, in the paper's order, the paper's merge before the exact one."""
    names = list(Setting.__dataclass_fields__)
    found = [
        (Setting(**dict(zip(names, values, strict=True))), pictures)
        for values, pictures in rows.group_by(names, maintain_order=True)
    ]
    found.sort(key=lambda cell: _place(cell[0], varying))
    return tuple(Cell(setting=s, measures=measuring(p, settings, paper_figures(s, varying))) for s, p in found)


def _place(setting: Setting, varying: str) -> tuple[Any, ...]:
    value = getattr(setting, varying)
    return setting.model, setting.prompt_set, setting.merge == "exact", _rank(value, tuple(published.BY_LAYERS))


def _rank(value: Any, order: Sequence[str]) -> tuple[float, str]:
    """Numbers by size, layers in the paper's order, other layers after them."""
    if not isinstance(value, str):
        return value, ""
    return order.index(value) if value in order else len(order), value


def paper_figures(setting: Setting, varying: str) -> tuple[Published, ...]:
    """What the paper prints for a setting; its merge is the only one it has, and its ablations are on Art."""
    if setting.merge == "exact":
        return ()
    if varying == "num_clouds":
        return published.BY_CLOUDS.get((setting.prompt_set, setting.num_clouds), ())
    if setting.prompt_set != "art" or setting.num_clouds != 4:
        return ()
    line = {
        "layers": published.BY_LAYERS.get(setting.layers),
        "num_inference_steps": published.BY_STEPS.get(setting.num_inference_steps),
        "relative_size": published.BY_SIZE.get(round(setting.relative_size * published.STANDARD_SIZE)),
    }[varying]
    return (line,) if line else ()
