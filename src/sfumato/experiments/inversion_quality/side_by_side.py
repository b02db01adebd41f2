"""Panels as the paper's Figures 11, 16, 17 and 19: originals, and what came back."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfumato.experiments.inversion_quality.cells import Cell
from sfumato.experiments.inversion_quality.measured import Measured
from sfumato.experiments.inversion_quality.painted import groups_of
from sfumato.experiments.inversion_quality.plan import Entry, Table
from sfumato.experiments.panels import Panel, Picture, Words, draw
from sfumato.experiments.rows import from_png

Find = Callable[[Cell], Measured | None]
_ROWS, _MOST_PICTURES = (2, 4), 24
"""Portraits of a panel, or frames of the first clip: so many that there are not too many pictures to open."""
_TITLES: Final = {
    "1": "White box: every method at every cut",
    "4": "Black box: every method at every cut",
    "2": "White box, without and with words",
    "5": "Black box, without and with words",
    "3": "Sampling steps",
    "ablation": "Number of questions",
    "clips": "A clip, with and without the smoothing term",
    "clips-black": "A clip, with and without the pointwise convolution",
    "full": "The paper's settings",
}


def panels(table: Table, find: Find, size: tuple[int, int]) -> dict[str, bytes]:
    """Draws a table's pictures, one panel a target, by its name; cells without pictures are left out.

    Args:
        table: whose entries.
        find: gives the rows of a cell, or None.
        size: height and width of the pictures.
    """
    by_target: dict[str, list[_Column]] = {}
    for entry in table.entries:
        found = find(entry.cell)
        if found is not None and all(found.frame["picture"].to_list()):
            by_target.setdefault(entry.cell.target, []).append(_Column(entry, found))
    return {target: _panel(table, columns, size) for target, columns in by_target.items()}


class _Column(NamedTuple):
    entry: Entry
    found: Measured


def _panel(table: Table, columns: list[_Column], size: tuple[int, int]) -> bytes:
    # What one cut gives is together, as in the paper.
    columns.sort(key=lambda each: table.columns.index(each.entry.column))
    originals = _originals(columns[0].entry.cell, size)
    worded = any(each.entry.cell.words for each in columns)
    rows: list[list[Panel]] = []
    count = min(max(_ROWS[0], _MOST_PICTURES // (1 + len(columns))), _ROWS[1])
    for place in range(min(count, *(len(each.found.frame) for each in columns))):
        row: list[Panel] = [Words(text=_words(columns, place))] if worded else []
        rows.append([*row, Picture(pixels=originals[place]), *(_guess(each.found, place) for each in columns)])
    headings = [*([""] if worded else []), "original", *(_heading(each.entry) for each in columns)]
    return draw(_TITLES[table.key], headings, rows)


def _originals(cell: Cell, size: tuple[int, int]) -> NDArray[np.uint8]:
    """In the order of the rows."""
    by_seed: dict[int, NDArray[np.uint8]] = {}
    for group in groups_of(cell, size):
        for place, seed in enumerate(group.seeds):
            by_seed[seed] = group.pictures[place * cell.num_frames : (place + 1) * cell.num_frames]
    return np.concatenate([by_seed[seed] for seed in cell.seeds])


def _words(columns: Sequence[_Column], place: int) -> str:
    told = next(each.found.frame["words"][place] for each in columns if each.entry.cell.words)
    return f'told: "{told}"'


def _guess(found: Measured, place: int) -> Picture:
    row = found.frame.row(place, named=True)
    return Picture(pixels=from_png(row["picture"]), below=f"{row['psnr']:.1f} dB, SSIM {row['ssim']:.2f}")


def _heading(entry: Entry) -> str:
    target = entry.cell.target.removeprefix("portraits-")
    where = f"{target} {entry.cell.layer}"
    return (
        f"{where} {entry.arm}"
        if entry.column == f"{entry.cell.target} {entry.cell.layer}"
        else (f"{where} {entry.arm}, {entry.column}")
    )
