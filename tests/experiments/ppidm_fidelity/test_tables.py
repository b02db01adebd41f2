"""Tables IV to VII: which pictures make a cell, what is said of them, and what the paper prints."""

import re
from math import inf
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made_rows import SETTINGS, compared, frame, offloading, split

from sfumato.experiments.ppidm_fidelity import published
from sfumato.experiments.ppidm_fidelity.measures import fidelity_measures
from sfumato.experiments.ppidm_fidelity.report import long_form, write_report
from sfumato.experiments.ppidm_fidelity.table_text import interval_text, measure_text, table_text
from sfumato.experiments.ppidm_fidelity.tables import Cell, Table, fidelity_tables
from sfumato.metrics.sets import frechet_distance


def _table(tables: tuple[Table, ...], number: str) -> Table:
    return next(t for t in tables if t.number == number)


def _cell(table: Table, **wanted: object) -> Cell:
    found = [c for c in table.cells if all(getattr(c.setting, k) == v for k, v in wanted.items())]
    assert len(found) == 1
    return found[0]


def _ablations() -> pl.DataFrame:
    sets = (("conv",), ("cross_attention",), ("norm",), ("conv", "cross_attention"), ("conv", "norm"))
    more = (("cross_attention", "norm"), ("conv", "cross_attention", "norm", "self_attention"))
    return frame(
        compared(split(), [30.0, 34.0, 38.0]),
        compared(split(merge="exact"), [80.0, inf, 84.0]),
        *(compared(offloading(*layers), [40.0, 41.0, 42.0]) for layers in sets + more),
    )


def test_a_cell_by_hand():
    tables = fidelity_tables(
        frame(
            compared(
                split(num_clouds=2), [30.0, 34.0, 38.0], ssim=[0.8, 0.9, 1.0], perceptual_distance=[0.01, 0.02, 0.06]
            )
        ),
        SETTINGS,
    )
    assert [t.number for t in tables] == ["IV", "scores"]
    (cell,) = tables[0].cells
    psnr, ssim, perceptual, frechet = cell.measures
    assert (psnr.metric, psnr.value, psnr.pairs, psnr.identical) == ("PSNR", 34.0, 3, 0)
    assert 30.0 <= psnr.low < 34.0 < psnr.high <= 38.0
    assert ssim.value == pytest.approx(0.9)
    assert perceptual.metric == "PD-portraits"
    assert perceptual.value == pytest.approx(0.03)
    assert perceptual.low < 0.03 < perceptual.high
    assert (frechet.metric, frechet.value, frechet.low) == ("FD-portraits", 0.0, 0.0)
    assert {k: str(v) for k, v in psnr.paper.items()} == {"SD 1.5": "36.80", "SDXL": "39.48"}
    assert {k: str(v) for k, v in frechet.paper.items()} == {"SD 1.5": "4.73", "SDXL": "2.64"}


def test_identical_pairs_are_counted_and_left_out_of_the_mean():
    tables = fidelity_tables(frame(compared(split(merge="exact"), [80.0, inf, 84.0])), SETTINGS)
    psnr = tables[0].cells[0].measures[0]
    assert (psnr.value, psnr.pairs, psnr.identical) == (82.0, 3, 1)
    assert 80.0 <= psnr.low <= psnr.high <= 84.0
    assert "3 (1 identical)" in table_text(tables[0])


def test_where_all_pairs_are_identical_no_mean_is_made_up():
    tables = fidelity_tables(frame(compared(split(merge="exact"), [inf, inf])), SETTINGS)
    psnr = tables[0].cells[0].measures[0]
    assert (psnr.value, psnr.low, psnr.high, psnr.identical) == (inf, None, None, 2)
    assert measure_text(psnr) == "identical"


def test_one_pair_has_no_interval_and_no_distance_of_sets():
    measures = fidelity_tables(frame(compared(split(), [33.0])), SETTINGS)[0].cells[0].measures
    assert measure_text(measures[0]) == "33.00"
    assert measures[3].value is None
    assert measure_text(measures[3]) == "-"


def test_frechet_distance_in_the_span_of_few_pictures_is_that_of_all_features():
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(size=(2, 5, 40))
    cell = pl.DataFrame({"features": ours.tolist(), "reference_features": theirs.tolist()}).with_columns(
        psnr=pl.lit(30.0), ssim=pl.lit(0.9), perceptual_distance=pl.lit(0.1)
    )
    frechet = fidelity_measures(cell, SETTINGS)[3]
    assert frechet.value == pytest.approx(frechet_distance(ours, theirs))
    assert frechet.low < frechet.value < frechet.high


def test_table_v_has_the_papers_rows_in_its_order_then_ours():
    table = _table(fidelity_tables(_ablations(), SETTINGS), "V")
    assert [(c.setting.layers, c.setting.merge) for c in table.cells] == [
        ("conv", "-"),
        ("att", "-"),
        ("GN", "paper"),
        ("conv + att", "-"),
        ("conv + GN", "paper"),
        ("att + GN", "paper"),
        ("all", "paper"),
        ("all + self-att", "paper"),
        ("all", "exact"),
    ]
    papers = [c.measures[0].paper.get("SD 1.5") for c in table.cells]
    assert list(map(str, papers)) == ["47.09", "47.19", "36.91", "47.31", "36.87", "36.87", "36.90", "None", "None"]


def test_one_picture_split_without_group_norm_is_counted_once_whatever_its_merge():
    layers = ("conv", "cross_attention")
    rows = frame(
        compared(split(), [30.0, 31.0]),
        compared(offloading(*layers), [47.0, 48.0]),
        compared(offloading(*layers, merge="exact"), [47.0, 48.0]),
    )
    table = _table(fidelity_tables(rows, SETTINGS), "V")
    assert _cell(table, layers="conv + att").measures[0].pairs == 2


def test_tables_vi_and_vii_by_steps_and_by_relative_size():
    rows = frame(
        *(compared(split(), [36.0, 38.0], steps=steps) for steps in (30, 50, 70)),
        *(compared(split(), [30.0, 32.0], size=size) for size in (8, 24, 20)),
    )
    tables = fidelity_tables(rows, SETTINGS)
    by_steps, by_size = _table(tables, "VI"), _table(tables, "VII")
    assert [(c.setting.num_inference_steps, str(c.measures[0].paper["SD 1.5"])) for c in by_steps.cells] == [
        (30, "37.06"),
        (50, "36.90"),
        (70, "36.48"),
    ]
    shown = [(c.setting.relative_size, str(c.measures[3].paper.get("SD 1.5"))) for c in by_size.cells]
    assert shown == [(0.5, "12.66"), (1.0, "4.56"), (1.25, "None"), (1.5, "4.49")]
    text = table_text(by_size)
    assert "| 8 (0.5x)" in text
    assert "| 16 (1x)" in text


def test_a_table_compares_the_pictures_that_all_its_cells_have():
    rows = frame(compared(split(), [30.0, 34.0, 90.0]), compared(split(), [31.0, 33.0], steps=30))
    tables = fidelity_tables(rows, SETTINGS)
    assert _cell(_table(tables, "VI"), num_inference_steps=50).measures[0].value == 32.0
    assert _table(tables, "IV").cells[0].measures[0].pairs == 3


def test_a_sweep_that_has_just_begun_shows_what_it_has():
    rows = frame(compared(split(), [30.0, 34.0, 35.0]), compared(split(), [31.0], steps=30))
    cells = _table(fidelity_tables(rows, SETTINGS), "VI").cells
    assert [c.measures[0].pairs for c in cells] == [1, 3]


def test_prompts_that_the_paper_has_not_stand_alone():
    tables = fidelity_tables(frame(compared(split(), [30.0, 34.0], prompt_set="mine")), SETTINGS)
    assert tables[0].cells[0].measures[0].paper == {}
    assert "paper:" not in table_text(tables[0])


def test_own_scores_are_compared_pair_by_pair():
    certain = [[1.0, 0.0], [0.0, 1.0]]
    rows = frame(compared(split(), [30.0, 34.0], clip_score=[31.0, 33.0], class_probabilities=certain))
    measures = {m.metric: m for m in _table(fidelity_tables(rows, SETTINGS), "scores").cells[0].measures}
    assert measures["CLIP-portraits, unsplit"].value == pytest.approx(30.5)
    assert measures["CLIP-portraits, split"].value == pytest.approx(32.0)
    change = measures["CLIP-portraits, change"]
    assert (change.low, change.value, change.high) == (1.0, 1.5, 2.0)
    assert measures["IS-portraits, unsplit"].value == pytest.approx(1.0)
    assert measures["IS-portraits, split"].value == pytest.approx(2.0)


def test_every_printed_figure_is_in_the_papers_tables():
    """Digit by digit from the tables as they are printed, line by line in their order."""
    printed = """
        36.80 0.968 0.018 4.73 | 36.90 0.969 0.017 4.56 | 36.76 0.968 0.018 4.74
        39.48 0.974 0.014 2.64 | 39.57 0.975 0.013 2.42 | 39.77 0.975 0.013 2.53
        37.27 0.979 0.014 0.159 | 37.31 0.979 0.014 0.159 | 37.12 0.978 0.014 0.164
        38.90 0.977 0.014 0.102 | 39.15 0.978 0.014 0.097 | 39.18 0.978 0.014 0.097
        47.09 0.993 0.003 1.09 | 47.19 0.993 0.003 1.10 | 36.91 0.968 0.017 4.62 | 47.31 0.994 0.003 0.88
        36.87 0.968 0.018 4.69 | 36.87 0.968 0.018 4.62 | 36.90 0.969 0.017 4.56
        37.06 0.97 0.017 4.67 | 37.04 0.969 0.017 4.46 | 36.90 0.969 0.017 4.56 | 36.45 0.967 0.019 4.74
        36.48 0.966 0.019 4.82
        31.42 0.925 0.045 12.66 | 36.90 0.969 0.017 4.56 | 38.06 0.970 0.019 4.49 | 39.08 0.972 0.020 4.54
    """
    table_iv = [published.BY_CLOUDS[s, n][model] for s in ("art", "coco") for model in (0, 1) for n in (2, 4, 8)]
    lines = [*table_iv, *published.BY_LAYERS.values(), *published.BY_STEPS.values(), *published.BY_SIZE.values()]
    ours = [f"{line.psnr} {line.ssim} {line.lpips} {line.fid}" for line in lines]
    assert ours == [part.strip() for part in re.split(r"[|\n]", printed.strip())]
    assert [line.model for line in table_iv] == (["SD 1.5"] * 3 + ["SDXL"] * 3) * 2
    assert list(published.BY_LAYERS) == ["conv", "att", "GN", "conv + att", "conv + GN", "att + GN", "all"]
    assert list(published.BY_STEPS) == [30, 40, 50, 60, 70]
    assert list(published.BY_SIZE) == [256, 512, 768, 1024]


def test_the_standard_setting_is_one_line_in_all_of_the_papers_tables():
    line = published.BY_CLOUDS["art", 4][0]
    assert line == published.BY_LAYERS["all"] == published.BY_STEPS[50] == published.BY_SIZE[512]


@pytest.mark.parametrize(
    ("numbers", "decimals", "text"),
    [
        ((33.018, 31.5, 34.614), 2, "33.02 [31.50, 34.61]"),
        ((0.0, 0.0, 0.0), None, "0 [0, 0]"),
        ((4.5612, 4.2, 5.1), None, "4.56 [4.20, 5.10]"),
        ((1234.5, 1200.0, 1300.0), None, "1234 [1200, 1300]"),
        ((9.3e-8, 8.3e-8, 1.0e-7), None, "9e-08 [8e-08, 1e-07]"),
        ((33.018, None, None), 2, "33.02"),
    ],
)
def test_figures_as_text(numbers, decimals, text):
    assert interval_text(*numbers, decimals) == text


def test_report_on_disk(tmp_path: Path):
    rows = frame(
        *(compared(split(num_clouds=n), [30.0, 34.0], prompt_set=s) for n in (2, 4) for s in ("art", "coco")),
        compared(split(), [31.0, 33.0], steps=30),
        compared(split(merge="exact"), [80.0, inf]),
    )
    (tmp_path / "table.md").write_text("old")
    markdown, csv = write_report(tmp_path, rows, SETTINGS)
    assert {p.name for p in tmp_path.iterdir()} == {"table.md", "table.csv"}
    tables = fidelity_tables(rows, SETTINGS)
    back = pl.read_csv(csv)
    assert back.equals(long_form(tables).select(back.columns))
    assert len(back) == sum(len(c.measures) for t in tables for c in t.cells)
    line = back.row(by_predicate=_is("IV", "art", 4, "exact", "PSNR"), named=True)
    assert (line["value"], line["low"], line["pairs"], line["identical"]) == (80.0, None, 2, 1)
    text = markdown.read_text()
    assert "toy (U-Net f00d)" in text
    assert "- pictures: 12 split, 6 unsplit" in text
    assert "- made by: sfumato 0.1.0 at commit abc123 with torch 2.9.0" in text
    assert "| exact merging removes the loss      | **holds** " in text
    assert "## Table V." not in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(line) for line in block.splitlines()}) == 1, "columns line up"


def _is(table: str, prompt_set: str, num_clouds: int, merge: str, metric: str) -> pl.Expr:
    return (
        (pl.col("table") == table)
        & (pl.col("prompt_set") == prompt_set)
        & (pl.col("num_clouds") == num_clouds)
        & (pl.col("merge") == merge)
        & (pl.col("metric") == metric)
    )


def test_pictures_of_another_kind_are_counted_and_in_no_table(tmp_path: Path):
    rows = frame(compared(split(), [30.0, 34.0]), compared(split(cross_attention="client"), [50.0, 50.0]))
    markdown, csv = write_report(tmp_path, rows, SETTINGS)
    assert "2 with cross-attention on the client are in no table" in " ".join(markdown.read_text().split())
    assert pl.read_csv(csv).filter(metric="PSNR")["value"].to_list() == [32.0]


def test_no_split_picture_is_refused():
    rows = frame(compared(split(), [30.0])).filter(pl.col("protocol") == "plain")
    with pytest.raises(ValueError, match="no split picture"):
        fidelity_tables(rows, SETTINGS)


def test_a_case_twice_is_refused():
    rows = frame(compared(split(), [30.0]))
    with pytest.raises(ValueError, match="a case twice"):
        fidelity_tables(pl.concat([rows, rows]), SETTINGS)


def test_two_settings_that_no_table_tells_apart_are_refused():
    rows = frame(compared(split(), [30.0]), compared(split(wire_dtype="fp16"), [29.0]))
    with pytest.raises(ValueError, match="differ in wire_dtype"):
        fidelity_tables(rows, SETTINGS)


def test_a_model_without_its_own_size_is_refused():
    rows = frame(compared(split(), [30.0])).with_columns(model=pl.lit("another"))
    with pytest.raises(ValueError, match="own_sizes has no entry for another"):
        fidelity_tables(rows, SETTINGS)
