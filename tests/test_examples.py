"""The examples run, and say what their text says they say."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
EXPECTED = {
    "one_of_many": "6 candidates, as hard to guess as",
    "own_network": "original and guess: own_network.png",
    "private_picture": "MB sent in",
    "same_as_unsplit": "dB to plain",
    "what_a_cloud_saw": "its first strip of the latent: (2, 4, 9, 32)",
}


def test_every_example_is_listed():
    assert {path.stem for path in EXAMPLES} == set(EXPECTED)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    assert EXPECTED[path.stem] in capsys.readouterr().out
