"""Grids of line plots, drawn by matplotlib."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_WIDTH, _HEIGHT, _LEGEND = 2.9, 2.3, 0.6
"""Inches: of a panel with its labels, and of title and legend above all."""
_DPI = 160
_MOST_NAMES = 5
"""In a line of the legend."""
_MARKERS = "osD^v<>"


@dataclass(frozen=True, kw_only=True)
class LinePanel:
    """One plot."""

    heading: str
    x_label: str
    y_label: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    """Name to points; the same name has the same colour in every panel."""
    x_names: Sequence[str] = ()
    """Where x only counts: what stands at 0, 1, 2, ..."""


def draw_lines(title: str, rows: Sequence[Sequence[LinePanel]]) -> bytes:
    """Draws a grid as PNG with one legend. All axes start at 0."""
    names = list(dict.fromkeys(name for row in rows for panel in row for name in panel.lines))
    legend = _LEGEND + 0.2 * ((len(names) - 1) // _MOST_NAMES)
    width, height = _WIDTH * max(map(len, rows)), _HEIGHT * len(rows) + legend
    figure = Figure(figsize=(width, height), dpi=_DPI)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), max(map(len, rows)), squeeze=False)
    for axes_row, row in zip(grid, rows, strict=True):
        for axes, panel in zip(axes_row, row, strict=True):
            _draw(axes, panel, names)
    figure.text(0.01, 1 - 0.2 / height, title, fontsize=10, fontweight="bold", va="center")
    handles = {h.get_label(): h for axes in grid.flat for h in axes.get_lines()}
    figure.legend(
        [handles[n] for n in names],
        names,
        loc="upper left",
        bbox_to_anchor=(0.0, 1 - 0.28 / height),
        ncols=min(len(names), _MOST_NAMES),
        fontsize=8,
        frameon=False,
    )
    figure.tight_layout(rect=(0, 0, 1, 1 - legend / height))
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _draw(axes: Axes, panel: LinePanel, names: Sequence[str]) -> None:
    for name, points in panel.lines.items():
        place = names.index(name)
        xs, ys = zip(*points, strict=True) if points else ((), ())
        axes.plot(xs, ys, color=f"C{place}", marker=_MARKERS[place % len(_MARKERS)], markersize=4, label=name)
    axes.set_title(panel.heading, fontsize=8, loc="left")
    axes.set_xlabel(panel.x_label, fontsize=8)
    axes.set_ylabel(panel.y_label, fontsize=8)
    if panel.x_names:
        axes.set_xticks(range(len(panel.x_names)), panel.x_names)
    else:
        axes.set_xticks(sorted({x for points in panel.lines.values() for x, _ in points}))
    axes.tick_params(labelsize=7)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
