"""Task accuracy against attack score, a point for each cut and defence."""

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sfumato.bench.defended_cell import DefendedCell

_SIZE = (7.2, 4.6)
"""Inches."""
_DPI = 160
_MARKERS = "osD^v<>"


def draw_defences(rows: Sequence[DefendedCell]) -> bytes:
    """Draws one plot as PNG: colours are defences, markers are cuts; top left is best."""
    figure = Figure(figsize=_SIZE, dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    layers = list(dict.fromkeys(row.layer for row in rows))
    kinds = list(dict.fromkeys(row.defence.split()[0] for row in rows))
    for row in rows:
        kind = row.defence.split()[0]
        axes.plot(
            row.psnr,
            100 * row.task_accuracy,
            _MARKERS[layers.index(row.layer) % len(_MARKERS)],
            color=f"C{kinds.index(kind)}",
            markersize=6,
            alpha=0.8,
        )
    axes.axvline(rows[0].prior_psnr, color="grey", linestyle="--", linewidth=0.8)
    axes.axhline(100 * rows[0].undefended_accuracy - 2, color="grey", linestyle=":", linewidth=0.8)
    axes.set_xlabel("PSNR of the nearest attack, dB (dashed: the prior alone)", fontsize=8)
    axes.set_ylabel("attributes read rightly, % (dotted: 2 below none)", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, alpha=0.3)
    axes.set_title(f"Defences of {rows[0].target}", fontsize=9, fontweight="bold", loc="left")
    handles = [Line2D([], [], color=f"C{place}", marker="o", linestyle="", label=k) for place, k in enumerate(kinds)]
    handles += [
        Line2D([], [], color="k", marker=_MARKERS[place % len(_MARKERS)], linestyle="", fillstyle="none", label=layer)
        for place, layer in enumerate(layers)
    ]
    figure.legend(handles=handles, loc="center right", fontsize=7, frameon=False)
    figure.tight_layout(rect=(0, 0, 0.82, 1))
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
