"""Numbers of a cell from its rows, and what follows from differences."""

import json

import numpy as np
import polars as pl
import pytest

from sfumato.experiments.inversion_quality.cells import Cell
from sfumato.experiments.inversion_quality.computing import thinned
from sfumato.experiments.inversion_quality.findings import difference, findings
from sfumato.experiments.inversion_quality.measured import Measured, measured
from sfumato.experiments.inversion_quality.plan import cells_of, plan
from sfumato.experiments.inversion_quality.running import shard_of
from sfumato.experiments.inversion_quality.scale import SCALES, Scale, scale_from
from sfumato.experiments.inversion_quality.table_text import detail_table, layout_table, settings_lines, summary_table
from sfumato.experiments.running import Shard


def made(cell: Cell, psnr: float, prior: float = 10.0) -> Measured:
    """A finished cell whose pictures are a little apart from each other."""
    count = cell.num_pictures
    scores = {"psnr": psnr, "mean_absolute_psnr": psnr / 2, "ssim": psnr / 50, "attributes": 0.5}
    columns = {name: [value + 0.01 * place for place in range(count)] for name, value in scores.items()}
    priors = {f"prior_{name}": [prior] * count for name in scores}
    frame = pl.DataFrame(
        {
            "cell": ["a"] * count,
            "place": list(range(count)),
            "draws": [2] * count,
            "seconds": [1.5] * count,
            "seed": [seed for seed in cell.seeds for _ in range(cell.num_frames)],
            "commit": ["c"] * count,
            "classes": [[0.9, 0.1]] * count,
            "prior_classes": [[0.5, 0.5, 1.0, 0.0]] * count,
            **columns,
            **priors,
        }
    )
    found = measured(cell, "a", frame)
    assert found is not None
    return found


@pytest.fixture
def clip_cell() -> Cell:
    return plan(Scale(clips=3))["clips"].entries[0].cell


def test_a_clip_counts_as_one(clip_cell: Cell) -> None:
    found = made(clip_cell, 20.0)
    assert clip_cell.num_pictures == 12
    np.testing.assert_allclose(found.values("psnr"), [20.015, 20.055, 20.095])
    assert found.mean("psnr") == pytest.approx(20.055)
    np.testing.assert_allclose(found.leakage("psnr"), [10.015, 10.055, 10.095])
    assert found.seconds == 18.0
    assert found.inception == pytest.approx(1.0), "all pictures alike"
    assert found.prior_inception == pytest.approx(1.0)


def test_rows_of_half_a_cell_are_no_cell(clip_cell: Cell) -> None:
    frame = made(clip_cell, 20.0).frame
    assert measured(clip_cell, "a", frame.head(5)) is None
    assert measured(clip_cell, "b", frame) is None


@pytest.mark.parametrize(
    ("gains", "most", "verdict"),
    [
        ([1.0, 2.0, 3.0], None, "holds"),
        ([-1.0, -2.0, -3.0], None, "does not hold"),
        ([-1.0, 2.0, -3.0, 4.0], None, "cannot be told"),
        ([5.0], None, "cannot be told"),
        ([0.001, 0.002, -0.01], 0.01, "holds"),
        ([0.02, 0.03, 0.04], 0.01, "does not hold"),
        ([-0.02, 0.0, 0.06], 0.01, "cannot be told"),
    ],
)
def test_verdicts_follow_from_intervals(gains: list[float], most: float | None, verdict: str) -> None:
    found = difference(np.array(gains), most)
    assert found.verdict == verdict
    assert found.mean == pytest.approx(np.mean(gains))


def test_findings_turn_with_the_rows() -> None:
    tables = plan(Scale())
    better, worse = (tables["1"].cell(arm, "portraits-resnet L12") for arm in ("DMB", "DB"))
    for high, low, verdict in ((25.0, 15.0, "holds"), (15.0, 25.0, "does not hold")):
        known = {better: made(better, high), worse: made(worse, low)}
        found = {(each.claim, each.about): each for each in findings(tables, known.get)}
        one = found["DMB is better than DB at deep cuts", "white box, portraits-resnet L12"]
        assert one.differences["psnr"].verdict == verdict
        assert one.differences["psnr"].mean == pytest.approx(high - low)
        assert one.num_pairs == 6
        assert f"| {verdict} in 1 " in next(
            line for line in summary_table([one]).splitlines() if "DMB is better than DB" in line
        )
        assert found["DMB is better than DB at deep cuts", "white box, portraits-vit L3"].num_pairs == 0
        still = found[
            "depth is no protection: deep features still give pictures away",
            "white box, portraits-resnet L12, against the prior alone",
        ]
        assert still.differences["psnr"].mean == pytest.approx(high - 10 + 0.025)


def test_tables_have_the_papers_figures_and_say_what_is_missing() -> None:
    tables = plan(Scale())
    cell = tables["1"].cell("DMB", "portraits-resnet L8")
    known = {cell: made(cell, 25.0)}
    text = layout_table(tables["1"], known.get)
    assert "portraits-resnet L8 (ResNet-18 L8)" in text
    assert "25.0 (36.3)" in text
    assert "not computed (29.1)" in text
    assert "15.0 [15.0, 15.0]" in detail_table(tables["1"], known.get)
    assert "- DMB: `white-box`, iterations=150 sampling_steps=5; 6 pictures" in settings_lines(tables["1"])
    assert "not computed / not computed (4.5 / 15.4)" in layout_table(tables["2"], known.get)
    assert "(0.88)" in layout_table(tables["3"], known.get)


def test_shards_have_every_cell_once() -> None:
    cells = cells_of(list(plan(Scale()).values()))
    assert len(set(cells)) == len(cells)
    parts = [shard_of(cells, Shard(number, 3)) for number in (1, 2, 3)]
    assert sorted(id(cell) for part in parts for cell in part) == sorted(map(id, cells))
    loads = [sum(cell.expected_seconds for cell in part) for part in parts]
    assert max(loads) < 1.5 * min(loads)


def test_every_scale_makes_methods_that_can_run() -> None:
    for scale in SCALES.values():
        for cell in cells_of(list(plan(scale).values())):
            assert cell.attack.name == cell.method
            assert cell.expected_seconds > 0
    assert scale_from("paper", ["white_steps=10"], 5) == scale_from(
        "paper", ["pictures=5", "text_pictures=5", "white_steps=10"]
    )


def test_what_changes_no_result_is_not_in_a_cells_name() -> None:
    tables = plan(Scale())
    cells = cells_of(list(tables.values()))
    names = {cell.identity("f", 4) for cell in cells}
    assert len(names) == len(cells)
    assert names.isdisjoint(cell.identity("g", 4) for cell in cells)
    assert names.isdisjoint(cell.identity("f", 5) for cell in cells)


def test_rows_of_other_defaults_are_told_apart_and_new_settings_are_not() -> None:
    cell = plan(Scale())["1"].entries[0].cell
    stored = dict(cell.all_settings)
    del stored["tv_weight"]
    assert cell.changed_settings(json.dumps(stored)) == []
    assert cell.changed_settings(json.dumps({**stored, "gone": 3})) == []
    assert cell.changed_settings(json.dumps({**stored, "learning_rate": 7.0})) == ["learning_rate"]


def test_losses_are_thinned_with_both_ends() -> None:
    import torch

    losses = torch.arange(1000.0)[:, None].expand(-1, 2)
    found = thinned(losses, 1)
    assert len(found) == 200
    assert (found[0], found[-1]) == (0.0, 999.0)
    assert thinned(losses[:3], 0) == [0.0, 1.0, 2.0]
    assert thinned(None, 0) == []
