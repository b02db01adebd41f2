"""Grids of pictures, difference maps and words, drawn by matplotlib."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

AMPLIFIED = 8
"""How many times brighter a difference is drawn than it is."""

_COLOURS = "inferno"
_SIDE, _GAP = 1.5, 0.08
_LINE = 0.15
"""Inches: side of a panel, the space between two, and a line of text."""
_TOP, _EDGE, _BAR = 0.55, 0.12, 0.95
_DPI = 160
_LETTERS, _LINES = 27, 11
"""Of a prompt that is written into a panel."""
_LETTERS_OF_HEADING = 22


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture with a line below it."""

    pixels: NDArray[np.uint8]
    below: str = ""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far two pictures are apart at every pixel: the largest difference of the three channels."""

    pixels: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    below: str = ""


@dataclass(frozen=True, kw_only=True)
class Words:
    """A text in place of a picture, under a heading in bold."""

    heading: str = ""
    text: str = ""


Panel = Picture | Difference | Words | None


def draw(title: str, columns: Sequence[str], rows: Sequence[Sequence[Panel]]) -> bytes:
    """Draws a grid as PNG; where there are difference maps, with a bar that says what their colours mean.

    Args:
        title: above everything.
        columns: what stands above each column.
        rows: panels, a column's in the same place of each.
    """
    height = _TOP + _EDGE + sum(_row_height(row) for row in rows)
    has_bar = any(isinstance(panel, Difference) for row in rows for panel in row)
    width = 2 * _EDGE + len(columns) * (_SIDE + _GAP) + (_BAR if has_bar else 0)
    figure = Figure(figsize=(width, height), dpi=_DPI)
    FigureCanvasAgg(figure)
    figure.text(_EDGE / width, 1 - 0.2 / height, title, fontsize=10, fontweight="bold", va="center")
    top = _TOP
    for place, row in enumerate(rows):
        for column, panel in enumerate(row):
            left = _EDGE + column * (_SIDE + _GAP)
            box = (left / width, 1 - (top + _SIDE) / height, _SIDE / width, _SIDE / height)
            axes = figure.add_axes(box)
            _draw_panel(axes, panel)
            if place == 0:
                axes.set_title("\n".join(wrap(columns[column], _LETTERS_OF_HEADING)), fontsize=8, pad=3)
        top += _row_height(row)
    if has_bar:
        _draw_bar(figure, width, height)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _row_height(row: Sequence[Panel]) -> float:
    has_text = any(panel.below for panel in row if isinstance(panel, Picture | Difference))
    return _SIDE + _GAP + (_LINE if has_text else 0)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    match panel:
        case Picture(pixels=pixels, below=below):
            axes.imshow(pixels, interpolation="nearest")
            axes.set_xlabel(below, fontsize=8, labelpad=2)
        case Difference(pixels=pixels, reference=reference, below=below):
            levels = np.abs(pixels.astype(int) - reference.astype(int)).max(axis=2)
            axes.imshow(levels, cmap=_COLOURS, norm=_levels(), interpolation="nearest")
            axes.set_xlabel(below, fontsize=8, labelpad=2)
        case Words(heading=heading, text=text):
            axes.text(0, 1, heading, fontsize=8, fontweight="bold", va="top", transform=axes.transAxes)
            top = 1 - _LINE / _SIDE if heading else 1
            axes.text(0, top, _wrapped(text), fontsize=7, va="top", parse_math=False, transform=axes.transAxes)
        case None:
            pass


def _wrapped(text: str) -> str:
    """The text in lines that fit a panel; one that is too long ends with an ellipsis."""
    return "\n".join(wrap(text, _LETTERS, max_lines=_LINES, placeholder=" …"))


def _levels() -> Normalize:
    return Normalize(0, 255 / AMPLIFIED, clip=True)


def _draw_bar(figure: Figure, width: float, height: float) -> None:
    """The colour bar at the right, as high as two panels."""
    left, high = width - _EDGE - _BAR + 0.2, 2 * _SIDE
    axes = figure.add_axes((left / width, 1 - (_TOP + high) / height, 0.12 / width, high / height))
    bar = figure.colorbar(ScalarMappable(_levels(), colormaps[_COLOURS]), cax=axes, extend="max")
    bar.set_label(f"difference (largest channel), levels of 255, {AMPLIFIED} x amplified", fontsize=7)
    bar.ax.tick_params(labelsize=7)
