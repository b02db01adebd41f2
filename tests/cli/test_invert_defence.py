"""``sfumato invert --defence``: what the report says of it, and what is refused."""

import json

import pytest
import typer
from typer.testing import CliRunner

from sfumato.attacks.targets.random_target import write_random_target
from sfumato.cli.invert import invert
from sfumato.errors import Unsupported


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return write_random_target("tiny-resnet-18", tmp_path_factory.mktemp("target") / "resnet")


def run(*arguments):
    app = typer.Typer()
    app.command()(invert)
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def base(tiny_sd, target, out):
    quick = ("--method", "direct", "--layer", "L4", "--set", "iterations=2", "--draws", 1)
    return ("painted:1", "--model", tiny_sd.path, "--target", target, "--out", out, *quick)


def test_the_report_states_defence_guarantee_and_accuracy(tiny_sd, tmp_path):
    command = base(tiny_sd, "portraits-resnet", tmp_path / "out")
    shown = run(*command, "--defence", "gaussian-noise", "--set", "noise_multiplier=2").stdout
    report = json.loads((tmp_path / "out" / "report.json").read_text())["defence"]
    assert report["name"] == "gaussian-noise"
    assert report["settings"]["noise_multiplier"] == 2.0
    assert report["guarantee"]["epsilon"] == pytest.approx(4.377, abs=1e-3)
    assert report["guarantee"]["delta"] == 1e-5
    assert "any two pictures" in report["guarantee"]["about"]
    accuracy = report["task_accuracy"]["L4"]
    assert accuracy["defended"] < 0.6 < accuracy["undefended"]
    assert "(epsilon 4.38, delta 1e-05)-differentially private by opacus" in " ".join(shown.split())


def test_a_target_of_another_task_has_no_accuracy(tiny_sd, target, tmp_path):
    shown = run(*base(tiny_sd, target, tmp_path / "out"), "--defence", "quantise", "--set", "bits=1").stdout
    report = json.loads((tmp_path / "out" / "report.json").read_text())["defence"]
    assert report["guarantee"] is None
    assert report["task_accuracy"]["L4"] == {"undefended": None, "defended": None}
    assert "accuracy is not known" in shown


def test_without_a_defence_the_report_has_none(tiny_sd, target, tmp_path):
    run(*base(tiny_sd, target, tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "report.json").read_text())["defence"] is None


def test_the_settings_of_a_defence_are_shown():
    assert "L2 norm" in run("--settings", "gaussian-noise").stdout


def test_wrong_defences_are_told_before_anything_is_computed(tiny_sd, target, tmp_path, monkeypatch):
    command = base(tiny_sd, target, tmp_path / "out")
    with pytest.raises(ValueError, match="no defence 'fog': choose one of gaussian-noise"):
        run(*command, "--defence", "fog")
    with pytest.raises(ValueError, match="bits must be in"):
        run(*command, "--defence", "quantise", "--set", "bits=40")
    with pytest.raises(ValueError, match="direct has no setting 'bits'"):
        run(*command, "--set", "bits=4")
    monkeypatch.setitem(__import__("sys").modules, "opacus", None)
    with pytest.raises(Unsupported, match="stated by opacus, which is not installed"):
        run(*command, "--defence", "gaussian-noise")
    assert not (tmp_path / "out").exists()
