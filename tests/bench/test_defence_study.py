"""The study of defences writes rows, and the recommendation picks from rows."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sfumato.bench.defences import DEFAULT_ATTACKS, DEFAULT_DEFENCES, DefencesRequest, bench_defences
from sfumato.bench.defended_cell import DefendedCell, Study, named_attack, named_defence
from sfumato.bench.recommending import measured_rows, recommended
from sfumato.cli.invert import invert
from sfumato.errors import ExperimentError

SHIPPED = Path(__file__).parents[2] / "docs/results/defences/defences.jsonl"


def cell(defence, accuracy, psnr, **other):
    made = {
        "target": "made",
        "layer": "L4",
        "defence": defence,
        "settings": {},
        "epsilon": None,
        "delta": None,
        "task_accuracy": accuracy,
        "undefended_accuracy": 0.95,
        "task_pictures": 10,
        "pictures": 4,
        "attack": "direct",
        "psnr": psnr,
        "ssim": 0.5,
        "prior_psnr": 10.0,
        "prior_ssim": 0.4,
        "leakage_interval": None,
        "tried": {"direct": psnr},
        "seed": 0,
    }
    return DefendedCell(**made | other)


NONE, GOOD = cell("none", 0.95, 25.0), cell("quantise bits=2", 0.935, 15.0)
COSTLY, EDGE = cell("gaussian-noise", 0.92, 10.0, epsilon=3.0, delta=1e-5), cell("drop-channels", 0.93, 16.0)


def written(folder, rows):
    folder.mkdir(exist_ok=True)
    (folder / "defences.jsonl").write_text("".join(json.dumps(asdict(row) | {"commit": "x"}) + "\n" for row in rows))
    return folder


def run(*arguments):
    app = typer.Typer()
    app.command()(invert)
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def test_the_least_leaking_cell_that_keeps_the_accuracy_is_chosen():
    assert recommended([NONE, COSTLY, GOOD, EDGE]) is GOOD
    assert recommended([NONE, COSTLY, EDGE]) is EDGE, "exactly 2 points are allowed"
    assert recommended([NONE, COSTLY]) is NONE
    assert recommended([COSTLY]) is None


def test_of_equal_scores_the_more_accurate_is_chosen():
    better = cell("quantise bits=3", 0.949, GOOD.psnr)
    assert recommended([GOOD, better]) is better


def test_rows_are_read_back_and_those_of_other_targets_left_out(tmp_path):
    folder = written(tmp_path / "rows", [NONE, GOOD, cell("none", 0.9, 3.0, target="other")])
    assert measured_rows("made", folder) == [NONE, GOOD]


def test_without_rows_the_command_that_makes_them_is_told(tmp_path):
    told = "make them with 'sfumato bench defences --target absent --out ROWS', and then name the folder"
    with pytest.raises(ValueError, match=f"no measured rows of absent are in .*: {told}"):
        measured_rows("absent", tmp_path)
    with pytest.raises(ValueError, match=f"no measured rows of absent come with the package: {told}"):
        run("--recommend", "absent")


def test_damaged_rows_are_told(tmp_path):
    (tmp_path / "defences.jsonl").write_text('{"target": "made"}\n')
    with pytest.raises(ExperimentError, match="are damaged: delete the file, and run it again"):
        measured_rows("made", tmp_path)


def test_the_recommendation_is_printed_with_its_figures(tmp_path):
    proven = cell("gaussian-noise noise_multiplier=1", 0.95, 11.0, epsilon=9.99, delta=1e-5)
    shown = " ".join(run("--recommend", "made", "--rows", written(tmp_path / "a", [NONE, proven])).stdout.split())
    assert "after L4, defence: gaussian-noise noise_multiplier=1 (epsilon 10 at delta 1e-05 a release)" in shown
    assert "95.0 %" in shown
    assert "11.0 dB" in shown
    shown = run("--recommend", "made", "--rows", written(tmp_path / "b", [COSTLY])).stdout
    assert "None of the 1 rows keeps made within 2 points" in shown


def test_the_packages_rows_are_those_of_the_documents_and_recommend():
    assert [asdict(row) for row in measured_rows("portraits-resnet", None)] == [
        asdict(row) for row in measured_rows("portraits-resnet", SHIPPED.parent)
    ]
    assert "Cut portraits-resnet after" in run("--recommend", "portraits-resnet").stdout


def test_a_small_study_writes_rows_a_table_and_a_plot_and_goes_on(tmp_path, capsys, monkeypatch):
    request = DefencesRequest(
        target="portraits-resnet",
        layers=["16"],
        defences=["quantise bits=1", "gaussian-noise noise_multiplier=100"],
        attacks=["direct iterations=1", "direct iterations=2 tv_weight=1e5"],
        pictures=1,
        task_pictures=4,
        model="portraits",
        threads=1,
        seed=0,
        out=tmp_path / "out",
    )
    bench_defences(request)
    rows = measured_rows("portraits-resnet", tmp_path / "out")
    assert [row.defence for row in rows] == ["none", *request.defences]
    assert all(row.psnr >= row.prior_psnr for row in rows), "an attacker may leave the features aside"
    assert rows[0].task_accuracy == rows[0].undefended_accuracy
    assert rows[2].epsilon < 1
    assert set(rows[0].tried) == set(request.attacks)
    assert "quantise bits=1" in (tmp_path / "out" / "defences.txt").read_text()
    assert (tmp_path / "out" / "defences.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(Study, "cell", lambda *_: pytest.fail("a finished row is measured again"))
    bench_defences(request)
    assert measured_rows("portraits-resnet", tmp_path / "out") == rows
    capsys.readouterr()


def test_defaults_can_be_made():
    assert [named_defence(text).text for text in DEFAULT_DEFENCES] == list(DEFAULT_DEFENCES)
    assert named_attack(DEFAULT_ATTACKS[0]).made.tv_weight == 1e5
    assert named_defence("none").made is None
