"""``sfumato invert``: what it writes, goes on from, and refuses."""

import json

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from sfumato.attacks.targets.random_target import write_random_target
from sfumato.cli import inverting
from sfumato.cli.invert import invert
from sfumato.errors import ModelError, Unsupported

QUICK = ("--set", "iterations=3", "--draws", 2)
STEPS = ("--set", "sampling_steps=1", "--set", "clip_sampling_steps=1", "--set", "memory_gib=1")


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return write_random_target("tiny-resnet-18", tmp_path_factory.mktemp("target") / "resnet")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    files = [folder / f"{seed}.png" for seed in range(2)]
    for seed, file in enumerate(files):
        pixels = np.random.default_rng(seed).integers(0, 256, (48, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    return files


def run(*arguments):
    app = typer.Typer()
    app.command()(invert)
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def base(tiny_sd, target, pictures, out):
    return (*pictures, "--model", tiny_sd.path, "--target", target, "--out", out, "--layer", 4, *QUICK)


def test_every_method_at_every_cut_is_written(tiny_sd, target, pictures, tmp_path):
    out = tmp_path / "found"
    command = base(tiny_sd, target, pictures, out)
    assert run(*command, *STEPS, "--layer", "L8", "--method", "white-box", "--method", "direct").exit_code == 0
    report = json.loads((out / "report.json").read_text())
    assert [(r["layer"], r["method"], r["iterations"]) for r in report["runs"]] == [
        (layer, method, 3) for layer in ("L4", "L8") for method in ("white-box", "direct")
    ]
    assert report["runs"][0]["settings"]["sampling_steps"] == 1
    assert "sampling_steps" not in report["runs"][1]["settings"]
    psnr = report["runs"][0]["scores"]["psnr"]
    assert psnr["leakage"] == pytest.approx(psnr["guess"] - psnr["prior_only"])
    assert len(psnr["interval"]) == 2
    for name in ("panel.png", "losses.png", *report["runs"][3]["guesses"]):
        with Image.open(out / name) as picture:
            assert picture.width >= 32


def test_the_same_command_goes_on(tiny_sd, target, pictures, tmp_path):
    command = (*base(tiny_sd, target, pictures[:1], tmp_path / "found"), "--method", "direct")
    for iterations in (3, 5):
        assert run(*(f"iterations={iterations}" if a == "iterations=3" else a for a in command)).exit_code == 0
        report = json.loads((tmp_path / "found" / "report.json").read_text())
        assert report["runs"][0]["iterations"] == iterations
        assert report["runs"][0]["scores"]["psnr"]["interval"] is None, "one picture"


def test_an_interruption_keeps_the_best_and_says_how_to_go_on(tiny_sd, target, pictures, tmp_path, monkeypatch):
    out = tmp_path / "found"

    def interrupted(method, view, originals, draws, *, encoder, watch):
        def stop(progress):
            watch.on_iteration(progress)
            raise KeyboardInterrupt

        return real(method, view, originals, draws, encoder=encoder, watch=inverting.Watch(on_iteration=stop))

    real = inverting.invert
    monkeypatch.setattr(inverting, "invert", interrupted)
    shown = run(*base(tiny_sd, target, pictures, out), *STEPS, "--layer", "L8")
    assert shown.exit_code == 130
    assert "the best so far is written, and the same command goes on" in " ".join(shown.stderr.split())
    report = json.loads((out / "report.json").read_text())
    assert [(r["layer"], r["finished"], r["iterations"]) for r in report["runs"]] == [("L4", False, 1)]


def test_clips_and_priors(tiny_sd, target, pictures, tmp_path):
    out = tmp_path / "clip"
    options = ("--frames", 2, "--prior", "a hat", "--prior", "", "--set", "trial_iterations=1")
    clip = tuple(
        "clip_sampling_steps=1" if a == "sampling_steps=1" else a for a in base(tiny_sd, target, pictures, out)
    )
    assert run(*clip, *options).exit_code == 0
    report = json.loads((out / "report.json").read_text())
    chosen = report["runs"][0]["chosen_priors"]
    assert report["frames"] == 2
    assert chosen[0] == chosen[1]
    assert chosen[0] in ("a hat", "")


def test_settings_are_shown():
    shown = run("--settings", "white-box").stdout
    assert "text_weight" in shown
    assert "lambda_txt" in shown


def grey(file):
    Image.new("L", (32, 32)).save(file)
    return file


def broken(file):
    file.write_bytes(b"no picture")
    return file


def refused(tiny_sd, target, pictures, out, *arguments, kind=ValueError):
    with pytest.raises(kind) as caught:
        run(*base(tiny_sd, target, pictures, out), *arguments)
    assert not (out / "report.json").exists()
    return str(caught.value)


def test_wrong_usage_is_told_before_anything_is_computed(tiny_sd, target, pictures, tmp_path):
    def told(*arguments, kind=ValueError):
        return refused(tiny_sd, target, pictures, tmp_path / "out", *arguments, kind=kind)

    assert "has no layer 'L18': near names are" in told("--layer", 18)
    assert "no inversion method 'guess': choose one of white-box, direct" in told("--method", "guess")
    assert "white-box has no setting 'speed': write FIELD=VALUE with one of batch_size" in told("--set", "speed=9")
    assert "tv_weight must be a number, got 'x'" in told("--set", "tv_weight=x")
    assert "2 pictures are no whole number of clips of 3" in told("--frames", 3)
    assert "a prior is" in told("--prior", "hat " * 500, kind=Unsupported)
    assert "multiples of" in told("--height", 33, kind=Unsupported)
    assert "no target 'nothing'" in told("--target", "nothing", kind=ModelError)
    assert "--device must be auto, cpu or cuda, got 'tpu'" in told("--device", "tpu")


def test_pictures_that_cannot_be_are_told(tiny_sd, target, pictures, tmp_path):
    def told(picture):
        return refused(tiny_sd, target, [picture], tmp_path / "out")

    assert "there is no such file" in told(tmp_path / "absent.png")
    assert "is a picture of mode L: save it as RGB" in told(grey(tmp_path / "grey.png"))
    assert "it is no picture, or a damaged one" in told(broken(tmp_path / "broken.png"))
    assert "painted:SEED needs a whole number" in told("painted:x")


def test_a_command_without_pictures_layer_or_folder_says_what_to_give(pictures):
    with pytest.raises(ValueError, match="name the pictures to invert"):
        run()
    with pytest.raises(ValueError, match="give a cut and a folder: --layer 8 --out folder"):
        run(pictures[0])


def test_black_boxes_are_asked_as_often_as_stated_and_networks_are_kept(tiny_sd, target, pictures, tmp_path):
    command = (*pictures, "--model", tiny_sd.path, "--target", target, "--layer", 4, "--draws", 1, "--set", "queries=2")
    command = (*command, "--set", "epochs=2", "--set", "channels=4", "--method", "black-box-direct")
    for out in ("one", "other"):
        assert run(*command, "--out", tmp_path / out).exit_code == 0
    one, other = (json.loads((tmp_path / out / "report.json").read_text())["runs"] for out in ("one", "other"))
    assert [r | {"peak_bytes": 0} for r in one] == [r | {"peak_bytes": 0} for r in other], "seconds of training too"
    assert [(r["method"], r["iterations"]) for r in one] == [("black-box-direct", 2)]
