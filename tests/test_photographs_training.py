"""The training of a decoder on photographs runs, goes on, and leaves a model folder that inversion can use."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfumato.attacks.inversion.latent_chain import latent_shape, load_frozen_decoder
from sfumato.models.folder import find_model


@pytest.fixture
def photographs(tmp_path):
    """Six in a folder with an index of which one row is for testing, and one that is left out."""
    folder = tmp_path / "pictures"
    for place in range(6):
        pixels = np.random.default_rng(place).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        file = folder / ("Faces" if place == 5 else "other") / f"{place}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    rows = [f"{file.relative_to(tmp_path)},{'test' if file.stem == '0' else 'train'}" for file in folder.rglob("*.jpg")]
    (tmp_path / "index.csv").write_text("\n".join(["path,split", *rows]))
    return tmp_path / "index.csv"


@pytest.fixture
def training(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "training")
    import autoencoder
    import photographs
    import workbench

    monkeypatch.setattr(workbench, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(autoencoder, "HELD_OUT", 1)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["photographs.py", *map(str, arguments)])
        photographs.main()

    yield run
    for module in ("autoencoder", "photographs", "workbench"):
        del sys.modules[module]


def test_training_goes_on_and_leaves_a_decoder(training, photographs, tmp_path, capsys):
    for steps in (1, 2):
        training("--photographs", photographs, "--leave-out", "Faces", "--steps", steps)
    assert "4 photographs; before training" in (shown := capsys.readouterr().out)
    assert "step 1:" in shown
    assert "step 2:" in shown
    squares = sorted((tmp_path / "runs/photographs").iterdir())
    assert [file.name for file in squares] == [f"{place:05}.png" for place in range(4)]
    with Image.open(squares[0]) as square:
        assert square.size == (128, 128)
    model = find_model(tmp_path / "runs/photographs-decoder")
    assert latent_shape(model, (128, 96)) == (4, 32, 24)
    load_frozen_decoder(model)


def test_no_photographs_is_told(training, photographs):
    with pytest.raises(SystemExit, match="no photographs: name a folder of them, or an index"):
        training("--photographs", photographs, "--leave-out", "other", "--leave-out", "Faces")
