"""Panels and loss curves of ``sfumato invert``, drawn by matplotlib."""

import io
from collections.abc import Sequence
from itertools import groupby, zip_longest

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sfumato.attacks.inversion.harness import Inverted
from sfumato.experiments.panels import Panel, Picture, Words, draw

_WIDTH, _HEIGHT, _TOP = 3.4, 2.6, 0.4
"""Inches: of one plot, and of the title above all."""
_DPI = 160


def panel(originals: NDArray[np.uint8], names: Sequence[str], found: Sequence[Inverted]) -> bytes:
    """As the paper's Figures 11, 16 and 17: every picture at every cut, original, each method, and the prior alone.

    Args:
        originals: the pictures.
        names: theirs.
        found: all methods of a cut beside each other.
    """
    methods = list(dict.fromkeys(each.method.name for each in found))
    cuts = [list(group) for _, group in groupby(found, key=lambda each: each.cut.layer)]
    rows: list[list[Panel]] = []
    for place, name in enumerate(names):
        for cut in cuts:
            by_method = {each.method.name: each for each in cut}
            row: list[Panel] = [Words(heading=cut[0].cut.layer, text=name), Picture(pixels=originals[place])]
            row += [_guessed(by_method.get(method), place) for method in methods]
            rows.append([*row, *(_alone(by_method.get(method), place) for method in methods)])
    columns = ["", "original", *methods, *(f"{name}: prior only" for name in methods)]
    return draw(f"Pictures from the features of {found[0].cut.target}", columns, rows)


def _guessed(found: Inverted | None, place: int) -> Panel:
    if found is None:
        return None
    psnr, similarity = (score.guess[place] for score in found.scores if score.metric in ("psnr", "ssim"))
    return Picture(pixels=found.pictures[place], below=f"{psnr:.1f} dB, SSIM {similarity:.2f}")


def _alone(found: Inverted | None, place: int) -> Panel:
    if found is None:
        return None
    psnr = next(score.prior_only[place] for score in found.scores if score.metric == "psnr")
    return Picture(pixels=found.prior_only[place], below=f"mean of draws {psnr:.1f} dB")


def loss_curves(found: Sequence[Inverted], names: Sequence[str]) -> bytes:
    """As the paper's Figure 12: each picture's own loss over the iterations, one plot a method and cut."""
    cuts = [list(group) for _, group in groupby(found, key=lambda each: each.cut.layer)]
    width, height = _WIDTH * max(map(len, cuts)), _HEIGHT * len(cuts) + _TOP
    figure = Figure(figsize=(width, height), dpi=_DPI)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(cuts), max(map(len, cuts)), squeeze=False)
    for axes_row, cut in zip(grid, cuts, strict=True):
        for axes, each in zip_longest(axes_row, cut):
            _draw_losses(axes, each, names)
    figure.suptitle(f"Loss of each picture, {found[0].cut.target}", fontsize=10, fontweight="bold", x=0.02, ha="left")
    figure.tight_layout()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _draw_losses(axes: Axes, found: Inverted | None, names: Sequence[str]) -> None:
    if found is None:
        axes.set_axis_off()
        return
    axes.set_title(f"{found.cut.layer}, {found.method.name}", fontsize=8, loc="left")
    axes.set_xlabel("iteration", fontsize=8)
    axes.set_ylabel("loss", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, alpha=0.3)
    if found.guess.losses is None:
        return
    losses = found.guess.losses.numpy()
    for place, name in enumerate(names):
        axes.plot(np.arange(1, len(losses) + 1), losses[:, place], label=name, linewidth=1)
    if np.nanmin(losses) > 0:
        axes.set_yscale("log")
    axes.legend(fontsize=6, frameon=False)
