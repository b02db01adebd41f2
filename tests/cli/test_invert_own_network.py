"""``sfumato invert`` of a network of the user's, and with a public model that is a decoder alone."""

import json
import shutil

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from sfumato.cli.invert import invert
from sfumato.errors import ModelError, Unsupported
from sfumato.models.folder import find_model

CODE = """
import torch
from torch import nn

from sfumato.attacks.targets import Preprocessing, Target


def own(weights):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())
    network.load_state_dict(torch.load(weights, weights_only=True))
    preprocess = Preprocessing(size=None, filter="bilinear", crop=None, scale=255.0, mean=(120.0,) * 3, std=(1.0,) * 3)
    return Target(name="own", network=network, preprocess=preprocess, picture_size=(20, 20))
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own_code.py").write_text(CODE)
    generator = torch.Generator().manual_seed(0)
    weights = {"0.weight": torch.randn(4, 3, 3, 3, generator=generator), "0.bias": torch.zeros(4)}
    torch.save(weights, tmp_path / "weights.pt")
    return f"{tmp_path / 'own_code.py'}:own", "--weights", tmp_path / "weights.pt"


@pytest.fixture
def decoder(tiny_sd, tmp_path):
    folder = tmp_path / "decoder"
    shutil.copytree(tiny_sd.path / "vae", folder / "vae")
    index = {"_class_name": "DiffusionPipeline", "vae": tiny_sd.index["vae"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return find_model(folder)


@pytest.fixture
def questions(tmp_path):
    (tmp_path / "questions").mkdir()
    for place in range(4):
        pixels = np.random.default_rng(place).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "questions" / f"{place}.png")
    return tmp_path / "questions"


def run(*arguments):
    app = typer.Typer()
    app.command()(invert)
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def test_all_methods_without_diffusion_need_a_decoder_only(own, decoder, questions, tmp_path):
    methods = ("decoder", "direct", "black-box-direct", "black-box-decoder")
    quick = ("iterations=2", "feature_norm=relative", f"questions={questions}", "queries=4", "epochs=1", "channels=4")
    command = ["--target", *own, "--model", decoder.path, "--out", tmp_path / "out", "--height", 32, "--width", 32]
    command += [part for name in methods for part in ("--method", name)]
    command += [part for pair in quick for part in ("--set", pair)]
    assert run(questions / "0.png", "--layer", 0, "--layer", "1", *command).exit_code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["target"] == "own"
    assert report["weights"] == str(tmp_path / "weights.pt")
    assert report["model"] == {"name": "decoder", "fingerprint": decoder.vae_fingerprint}
    assert [run["method"] for run in report["runs"]] == [*methods, *methods]
    assert "attributes" not in report["runs"][0]["scores"], "nobody said that these are portraits"


def test_a_decoder_alone_says_what_it_lacks(own, decoder, questions, tmp_path):
    command = (questions / "0.png", "--layer", 0, "--target", *own, "--model", decoder.path, "--out", tmp_path / "out")
    with pytest.raises(
        Unsupported, match="'decoder' has no U-Net and is for no size of its own: give height and width"
    ):
        run(*command)
    with pytest.raises(ModelError, match="model 'decoder' has no unet"):
        run(*command, "--height", 32, "--width", 32, "--method", "white-box")


def test_layers_of_ones_own_network_are_listed(own):
    rows = json.loads(run("--list-layers", *own, "--format", "json").stdout)
    assert [row["name"] for row in rows] == ["input", "0", "1", "output"]
