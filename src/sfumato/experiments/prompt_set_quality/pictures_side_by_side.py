"""The panel: one prompt a row, one way a column."""

import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from PIL import Image

from sfumato.experiments.panels import Panel, Picture, Words, draw
from sfumato.experiments.prompt_set_quality.device_side import PortraitRow
from sfumato.experiments.prompt_set_quality.judging import Judged
from sfumato.experiments.prompt_set_quality.ways import Way
from sfumato.experiments.rows import RowStore, read_pictures

_ROWS = 6


def panel(
    out: Path, frame: pl.DataFrame, pictures: Sequence[Judged], ways: Sequence[Way], num_candidates: int
) -> bytes | None:
    """Draws the first prompts of one size of the candidate set; None where no prompt has all its pictures.

    They are taken as they come, not chosen. Below a picture stands what it shows in place of what was requested.
    """
    places = RowStore(out / "rows", PortraitRow).places()
    of_size = frame.filter(pl.col("num_candidates") == num_candidates)
    cases = {(way, index): case for way, index, case in of_size.select("way", "prompt_index", "case").iter_rows()}
    wrong = {(p.way, p.index): _wrong(p) for p in pictures if p.num_candidates == num_candidates}
    whole = [i for i in sorted(set(of_size["prompt_index"])) if all((w.name, i) in cases for w in ways)][:_ROWS]
    if not whole:
        return None
    rows: list[list[Panel]] = []
    for index in whole:
        first = of_size.row(by_predicate=pl.col("case") == cases[ways[0].name, index], named=True)
        place = "the pivot" if first["own_index"] == 0 else f"no. {first['own_index'] + 1}"
        painted = read_pictures([cases[way.name, index] for way in ways], places)
        rows.append(
            [
                Words(heading=f"{index + 1}: own is {place}", text=first["prompt"]),
                *(Picture(pixels=p, below=wrong[w.name, index]) for w, p in zip(ways, painted, strict=True)),
            ]
        )
    return _small(draw(f"N = {num_candidates}", ["", *(way.name for way in ways)], rows))


def _small(png: bytes) -> bytes:
    """The same with 64 levels a channel: half of the bytes."""
    stream = io.BytesIO()
    coarse = Image.open(io.BytesIO(png)).convert("RGB").point(lambda level: level & 0xFC | level >> 6)
    coarse.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _wrong(picture: Judged) -> str:
    return ", ".join(picture.read[name] for name in picture.requested if not picture.is_right(name))
