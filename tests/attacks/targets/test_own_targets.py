"""Targets that a function of the user's makes."""

import pytest
import torch

from sfumato.attacks.targets import load_target
from sfumato.errors import ModelError

CODE = """
from dataclasses import dataclass

import torch
from torch import nn

from sfumato.attacks.targets import Preprocessing, Target


@dataclass
class Own:
    side: int


def scaled(weights=None):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Dropout())
    if weights is not None:
        network.load_state_dict(torch.load(weights, weights_only=True))
    whole = {"size": None, "filter": "bilinear", "crop": None, "scale": 1.0}
    preprocess = Preprocessing(**whole, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    side = Own(side=20).side
    return Target(name="own", network=network, preprocess=preprocess, picture_size=(side, side))


def wanting(weights):
    return scaled(weights)


def bare():
    return nn.Identity()


def broken():
    raise RuntimeError("no luck")


number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own_code.py"
    path.write_text(CODE)
    return path


def test_a_function_in_a_file_makes_the_target(file, tmp_path):
    weights = {"0.weight": torch.ones(4, 3, 3, 3), "0.bias": torch.zeros(4)}
    torch.save(weights, tmp_path / "weights.pt")
    target = load_target(f"{file}:wanting", tmp_path / "weights.pt")
    assert not target.network.training
    assert not any(value.requires_grad for value in target.network.parameters())
    features = target.cut("2").first(target.preprocess(torch.ones(1, 3, 20, 20)))
    torch.testing.assert_close(features, (torch.full((1, 4, 9, 9), 27.0),))
    assert load_target(f"{file}:scaled").name == "own"


def test_a_function_in_a_module_makes_the_target(file, monkeypatch):
    monkeypatch.syspath_prepend(file.parent)
    assert load_target("own_code:scaled").picture_size == (20, 20)


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("absent.py:scaled", ModelError, "there is no file .*absent.py"),
        ("absent_module:scaled", ModelError, "ModuleNotFoundError: No module named 'absent_module'"),
        ("FILE:absent", ModelError, "has no function absent"),
        ("FILE:number", ModelError, "has no function number"),
        ("FILE:broken", ModelError, "cannot be made: RuntimeError: no luck"),
        ("FILE:bare", ModelError, r"must return a sfumato.attacks.targets.Target, got Identity"),
        ("FILE:wanting", ValueError, "needs weights: give --weights FILE"),
    ],
)
def test_what_cannot_be_made_is_told(file, name, kind, told):
    with pytest.raises(kind, match=told):
        load_target(name.replace("FILE", str(file)))


def test_weights_for_what_takes_none_are_refused(file, tmp_path):
    with pytest.raises(ValueError, match=r"bare of target .* takes no weights: leave out --weights"):
        load_target(f"{file}:bare", tmp_path / "weights.pt")
    with pytest.raises(
        ValueError, match=r"weights are for targets named FILE\.py:FUNCTION, and 'portraits-resnet' brings"
    ):
        load_target("portraits-resnet", tmp_path / "weights.pt")


def test_code_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "wrong.py").write_text("def (")
    with pytest.raises(ModelError, match="cannot be made: SyntaxError"):
        load_target(f"{tmp_path / 'wrong.py'}:scaled")
