"""Figures 5 to 8: the files that are written, and what is in them."""

from collections.abc import Iterable
from math import inf
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made_rows import SETTINGS, compared, frame, offloading, split
from numpy.typing import NDArray
from PIL import Image

from sfumato.experiments.panels import Difference, Picture, Words, draw
from sfumato.experiments.ppidm_fidelity.figures import write_figures

_PANEL, _LINE, _DPI = 1.5, 0.15, 160
_LONG = "A man in a très long coat, $5 and $10 in his hand, rides a wave while the people watch. " * 5


class Pictures:
    """Grey pictures, split ones a little brighter in the middle; remembers what was asked for."""

    def __init__(self, rows: pl.DataFrame):
        self._sizes = dict(zip(rows["case"], zip(rows["height"], rows["width"], strict=True), strict=True))
        self.asked: list[str] = []

    def __call__(self, case: str) -> NDArray[np.uint8]:
        self.asked.append(case)
        height, width = self._sizes[case]
        picture = np.full((height, width, 3), 128, np.uint8)
        if not case.endswith("plain"):
            picture[height // 4 : height // 2] += 16
        return picture


def _written(folder: Path, *parts: list[dict]) -> dict[str, Path]:
    rows = frame(*parts)
    return {path.name: path for path in write_figures(folder, rows, Pictures(rows), SETTINGS)}


def _pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def _close(found: Iterable[float], wanted: Iterable[float]) -> bool:
    return all(abs(a - b) <= 2 for a, b in zip(found, wanted, strict=True))


def test_all_four_figures_of_a_whole_sweep(tmp_path):
    parts = [compared(split(num_clouds=n), [33.0, 34.0, 35.0], prompt_set=s) for n in (2, 4) for s in ("art", "coco")]
    written = _written(
        tmp_path,
        *parts,
        compared(split(merge="exact"), [80.0, inf, 81.0]),
        compared(offloading("norm"), [33.0, 34.0]),
        compared(split(), [33.0, 34.0], steps=30),
        compared(split(), [33.0, 34.0], size=32),
    )
    assert sorted(written) == ["figure-5-clouds.png", "figure-6-layers.png", "figure-7-steps.png", "figure-8-sizes.png"]
    assert {p.name for p in tmp_path.iterdir()} == set(written)
    for path in written.values():
        pixels = _pixels(path)
        assert (pixels == 128).all(axis=2).mean() > 0.05, "the unsplit pictures are there"
        assert (pixels != 255).any(axis=2).mean() > 0.3, "nor is the rest blank"


def test_two_prompts_of_each_set_and_a_column_each(tmp_path):
    parts = [compared(split(num_clouds=n), [33.0, 34.0, 35.0], prompt_set=s) for n in (2, 4) for s in ("art", "coco")]
    picture = _pixels(_written(tmp_path, *parts)["figure-5-clouds.png"])
    columns, prompts, gap = 3, 4, 0.08
    width = 2 * 0.12 + columns * (_PANEL + gap) + 0.95
    height = 0.55 + 0.12 + prompts * (2 * (_PANEL + gap) + _LINE)
    assert _close(picture.shape[:2], (height * _DPI, width * _DPI))


def test_the_prompts_that_have_every_column_are_shown(tmp_path):
    rows = frame(
        compared(split(num_clouds=2), [33.0, 34.0]),
        compared(split(num_clouds=4), [33.0, 34.0])[2:],
    )
    pictures = Pictures(rows)
    write_figures(tmp_path, rows, pictures, SETTINGS)
    assert {case.split("-")[1] for case in pictures.asked} == {"1"}


def test_nothing_to_compare_draws_nothing(tmp_path):
    assert list(_written(tmp_path, compared(split(), [33.0]))) == ["figure-5-clouds.png"]


def test_two_models_have_files_each(tmp_path):
    first = frame(compared(split(), [33.0]))
    second = first.with_columns(
        pl.lit("some/other").alias("model"), pl.col("case") + "-other-plain", pl.col("reference") + "-other-plain"
    )
    rows = pl.concat([first, second])
    settings = type(SETTINGS)(names=SETTINGS.names, own_sizes={"toy": (16, 16), "some/other": (16, 16)})
    written = write_figures(tmp_path, rows, Pictures(rows), settings)
    assert [p.name for p in written] == ["figure-5-clouds-some-other.png", "figure-5-clouds-toy.png"]


@pytest.mark.parametrize("text", ["short", _LONG])
def test_a_difference_has_its_place_and_words_stay_in_theirs(tmp_path, text):
    flat = np.zeros((16, 16, 3), np.uint8)
    brighter = flat.copy()
    brighter[:8, :, 1] = 200
    rows = [[Words(heading="unsplit", text=text), Difference(pixels=brighter, reference=flat), Picture(pixels=flat)]]
    (tmp_path / "drawn.png").write_bytes(draw("title", ["", "difference", "picture"], rows))
    pixels = _pixels(tmp_path / "drawn.png").astype(int)
    top, left = int(0.55 * _DPI), int((0.12 + _PANEL + 0.08) * _DPI)
    side = int(_PANEL * _DPI)
    shown = pixels[top + 2 : top + side - 2, left + 2 : left + side - 2]
    assert shown[: side // 2 - 8].min() > 100, "clipped at the brightest colour"
    assert shown[side // 2 + 8 :].max() < 20
    between = pixels[top : top + side, left - 8 : left - 2]
    assert (between == 255).all(), "no word reaches the next panel"
    below = pixels[top + side + 2 :, : left - 2]
    assert (below == 255).all(), "no line reaches below"
