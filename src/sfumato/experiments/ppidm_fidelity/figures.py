"""Pictures side by side with difference maps, after PPIDM's Figures 5 to 8.

Source: Wang et al. 2025, "PPIDM", Figures 5 (numbers of clouds), 6 (layers), 7 (steps) and 8 (sizes).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isinf
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sfumato.experiments.panels import Difference, Panel, Picture, Words, draw
from sfumato.experiments.ppidm_fidelity import published
from sfumato.experiments.ppidm_fidelity.comparisons import PICTURE, ReportSettings, compared_rows
from sfumato.experiments.ppidm_fidelity.table_text import size_text
from sfumato.files import write_whole

Fetch = Callable[[str], NDArray[np.uint8]]
"""Gives the picture of a case: shape (height, width, 3)."""

_PROMPTS = 4
_PROMPTS_OF_TALL_FIGURES = 3


@dataclass(frozen=True, kw_only=True)
class _Column:
    heading: str
    rows: pl.DataFrame


def write_figures(folder: Path, frame: pl.DataFrame, picture: Fetch, settings: ReportSettings) -> tuple[Path, ...]:
    """Writes ``figure-5-clouds.png`` to ``figure-8-sizes.png``, each whole or not at all.

    Each shows the first prompts that have all its columns; without such prompts, or with nothing to compare, it is left
    out. Several models have files each, with the name in it.

    Args:
        folder: of the sweep.
        frame: one row a picture, with its scores.
        picture: gives the picture of a case.
        settings: what is standard.

    Raises:
        ValueError: as :func:`sfumato.experiments.ppidm_fidelity.comparisons.compared_rows`.
        OSError: a file cannot be written; the old one is kept.
    """
    rows = compared_rows(frame, settings)
    models = sorted(set(rows["model"]))
    written = []
    for model in models:
        ending = f"-{model.replace('/', '-')}" if len(models) > 1 else ""
        for name, png in _figures(rows.filter(pl.col("model") == model), picture, settings):
            path = folder / f"figure-{name}{ending}.png"
            _write(path, png)
            written.append(path)
    return tuple(written)


def _write(path: Path, png: bytes) -> None:
    def write(stream: IO[bytes]) -> None:
        stream.write(png)

    write_whole(path, write)


def _figures(rows: pl.DataFrame, picture: Fetch, settings: ReportSettings) -> Iterator[tuple[str, bytes]]:
    """The figures of one model, by name."""
    n = settings.num_clouds
    steps = pl.col("num_inference_steps") == settings.num_inference_steps
    clouds, own_size = pl.col("num_clouds") == n, pl.col("relative_size") == 1
    whole, paper = pl.col("layers") == "all", pl.col("merge") != "exact"
    setting = f"n = {n}, the paper's merge"

    standard = rows.filter(steps, own_size, whole)
    exact = _Column(heading=f"n = {n}, exact merge", rows=standard.filter(clouds, ~paper))
    by_clouds = _columns(standard.filter(paper), "num_clouds", lambda row: f"n = {row['num_clouds']}")
    by_layers = _columns(rows.filter(steps, own_size, clouds, paper), "layers", lambda row: str(row["layers"]))
    by_steps = _columns(
        rows.filter(own_size, whole, clouds, paper),
        "num_inference_steps",
        lambda r: f"{r['num_inference_steps']} steps",
    )
    by_size = _columns(rows.filter(steps, whole, clouds, paper), "relative_size", _size_heading)

    per_set = max(1, _PROMPTS // max(1, standard["prompt_set"].n_unique()))
    if by_clouds:
        columns = [*by_clouds, exact] if len(exact.rows) else by_clouds
        yield from _drawn("5-clouds", "Number of clouds, the paper's merge", columns, per_set, _one_reference, picture)
    if len(by_layers) > 1:
        title = f"Layers on the clouds, {setting}"
        yield from _drawn("6-layers", title, by_layers, _PROMPTS, _one_reference, picture)
    for name, title, columns in (("7-steps", "Number of steps", by_steps), ("8-sizes", "Size in pixels", by_size)):
        if len(columns) > 1:
            yield from _drawn(name, f"{title}, {setting}", columns, _PROMPTS_OF_TALL_FIGURES, _own_references, picture)


def _columns(rows: pl.DataFrame, varying: str, heading: Callable[[dict[str, Any]], str]) -> list[_Column]:
    """One column for each value, numbers by size and layers in the paper's order."""
    order = list(published.BY_LAYERS)
    values = rows[varying].unique().sort().to_list()
    values.sort(key=lambda v: (order.index(v) if v in order else len(order)) if isinstance(v, str) else v)
    parts = [rows.filter(pl.col(varying) == value) for value in values]
    return [_Column(heading=heading(part.row(0, named=True)), rows=part) for part in parts]


def _size_heading(row: dict[str, Any]) -> str:
    return f"{size_text(row['height'], row['width'])} ({row['relative_size']:.3g}x)"


Layout = Callable[[Sequence[str], Sequence[Sequence[dict[str, Any]]], Fetch], tuple[list[str], list[list[Panel]]]]
"""Turns headings and, for each prompt, a row a column, into headings and panels."""


def _drawn(
    name: str, title: str, columns: Sequence[_Column], per_set: int, layout: Layout, picture: Fetch
) -> Iterator[tuple[str, bytes]]:
    """The figure of the first prompts that every column has; nothing where there is none."""
    shared = columns[0].rows.select(PICTURE)
    for column in columns[1:]:
        shared = shared.join(column.rows, on=PICTURE, how="semi")
    chosen = shared.unique().sort(PICTURE).group_by("prompt_set", maintain_order=True).head(per_set)
    if chosen.is_empty():
        return
    shown = [[c.rows.join(p, on=PICTURE).row(0, named=True) for c in columns] for p in chosen.iter_slices(1)]
    headings, panels = layout([c.heading for c in columns], shown, picture)
    yield name, draw(title, headings, panels)


def _one_reference(
    headings: Sequence[str], shown: Sequence[Sequence[dict[str, Any]]], picture: Fetch
) -> tuple[list[str], list[list[Panel]]]:
    """The unsplit picture and beside it the split ones; below, the prompt and the differences."""
    panels: list[list[Panel]] = []
    for row in shown:
        reference = picture(row[0]["reference"])
        split = [picture(each["case"]) for each in row]
        panels.append([Picture(pixels=reference), *(Picture(pixels=p) for p in split)])
        panels.append([Words(text=row[0]["prompt"]), *_differences(row, split, [reference] * len(row))])
    return ["unsplit", *headings], panels


def _own_references(
    headings: Sequence[str], shown: Sequence[Sequence[dict[str, Any]]], picture: Fetch
) -> tuple[list[str], list[list[Panel]]]:
    """Three lines a prompt: the unsplit pictures, the split ones, their differences."""
    panels: list[list[Panel]] = []
    for row in shown:
        references = [picture(each["reference"]) for each in row]
        split = [picture(each["case"]) for each in row]
        panels.append([Words(heading="unsplit", text=row[0]["prompt"]), *(Picture(pixels=p) for p in references)])
        panels.append([Words(heading="split"), *(Picture(pixels=p) for p in split)])
        panels.append([Words(heading="difference"), *_differences(row, split, references)])
    return ["", *headings], panels


def _differences(
    row: Sequence[dict[str, Any]], split: Sequence[NDArray[np.uint8]], references: Sequence[NDArray[np.uint8]]
) -> list[Panel]:
    return [
        Difference(pixels=pixels, reference=reference, below=_psnr_text(each["psnr"]))
        for each, pixels, reference in zip(row, split, references, strict=True)
    ]


def _psnr_text(psnr: float) -> str:
    return "identical" if isinf(psnr) else f"PSNR {psnr:.1f} dB"
