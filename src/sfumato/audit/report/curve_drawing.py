"""Curves as SVG that stands in a page: its colours are the page's own, so it follows light and dark."""

import io
import re
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sfumato.audit.report.curves import Curve, Series
from sfumato.audit.report.wording import measure

_WIDTH, _HEIGHT, _LEGEND, _TICKS = 4.4, 2.6, 0.15, 0.5
"""Inches: of the whole, of the plot, of one line of the legend, and of slanted names below."""
_APART = 0.006
"""Of the x axis, between series, so that their ranges do not cover each other."""
_MARKERS = "os^Dv<>P"
_DASHES = ("-", "--", "-.", ":")
_NUM_COLOURS = 6
_INK, _FAINT = "#010203", "#040506"
"""Stand-ins: the page's CSS variables take their place."""
_REPLACED = {_INK: "currentColor", _FAINT: "var(--rule)"} | {
    f"#0a0b{place:02x}": f"var(--series-{place + 1})" for place in range(_NUM_COLOURS)
}
_STYLE: Any = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "sfumato",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _FAINT,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_curve(curve: Curve, name: str) -> str:
    """Draws one plot.

    Args:
        curve: with a marker and a dash of its own for each series, so that no colour is needed to tell them apart.
        name: of no other drawing of the page; goes into its ids.

    Returns:
        An ``svg`` element without a declaration, without scripts, and without references to anything outside itself.
    """
    height = _HEIGHT + _LEGEND * len(curve.series) + (_TICKS if curve.ticks else 0)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height))
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        axes.axhline(0, color=_INK, linewidth=0.8)
        places = [point.x for series in curve.series for point in series.points]
        apart = _APART * (max(places) - min(places))
        for place, series in enumerate(curve.series):
            _draw(axes, series, place, apart * (place - (len(curve.series) - 1) / 2))
        _label(axes, curve)
        figure.legend(
            loc="lower left", fontsize=8, frameon=False, ncols=1, borderaxespad=0.2, handlelength=3.2, labelspacing=0.35
        )
        figure.subplots_adjust(left=0.13, right=0.98, top=1 - 0.1 / height, bottom=(0.5 + height - _HEIGHT) / height)
        stream = io.StringIO()
        figure.savefig(
            stream, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    return _embedded(stream.getvalue(), name)


def _draw(axes: Axes, series: Series, place: int, shift: float) -> None:
    scale = measure(series.points[0].line.metric).scale
    x = [point.x + shift for point in series.points]
    rows = [point.line.row for point in series.points]
    y = [scale * row.leakage for row in rows]
    ends = [
        [scale * max(0.0, row.leakage - row.interval.low) for row in rows],
        [scale * max(0.0, row.interval.high - row.leakage) for row in rows],
    ]
    axes.errorbar(
        x,
        y,
        yerr=ends,
        color=f"#0a0b{place % _NUM_COLOURS:02x}",
        marker=_MARKERS[place % len(_MARKERS)],
        linestyle=_DASHES[place // _NUM_COLOURS % len(_DASHES)],
        markersize=4,
        linewidth=1.3,
        elinewidth=0.8,
        capsize=2,
        label=series.name,
    )


def _label(axes: Axes, curve: Curve) -> None:
    unit = measure(curve.metric).unit
    axes.set_ylabel(f"leakage, {unit}" if unit else "leakage")
    axes.set_xlabel(curve.by)
    axes.grid(visible=True, axis="y", linewidth=0.5)
    axes.set_axisbelow(True)
    if curve.ticks:
        axes.set_xticks(range(len(curve.ticks)), curve.ticks, rotation=40, ha="right", fontsize=7)
        axes.set_xlabel("")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def _embedded(drawn: str, name: str) -> str:
    """Keeps the element alone, gives its ids the drawing's name, and takes the page's colours and font."""
    svg = drawn[drawn.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    referred = set(re.findall(r"#([\w.-]+)", " ".join(re.findall(r'(?:href="|url\()(#[\w.-]+)', svg))))
    svg = re.sub(r' id="([\w.-]+)"', lambda hit: f' id="{name}-{hit[1]}"' if hit[1] in referred else "", svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(r'<svg width="[^"]*" height="[^"]*"|<svg height="[^"]*"( [^>]*?) width="[^"]*"', r"<svg\1", svg)
    svg = re.sub(r"font: ([\d.]+)px[^;\"]*", r"font-size: \1px", svg)
    for stand_in, own in _REPLACED.items():
        svg = svg.replace(stand_in, own)
    return svg.strip()
