"""``sfumato experiment prompt-set``: a small study, its resumption, and ways to hold it wrong."""

from pathlib import Path

import polars as pl
import pytest

from cli.conftest import one_sentence
from experiments.test_running import ThisProcess
from sfumato.models.random_folder import write_random_model

SMALL = ["--prompts", "2=2", "--steps", 3, "--server-steps", "2-1-1", "--rounds", 1, "--attention", "tiny-sd"]


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    return write_random_model("tiny-sd", tmp_path_factory.mktemp("device") / "tiny-device", seed=9).path


@pytest.fixture
def study(sfumato, tiny_sd, device, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("sfumato.cli.prompt_set_study.LocalWorkers", lambda *_: ThisProcess())

    def run(*arguments: object, small=SMALL, device=device):
        given = ["--model", tiny_sd.path, *(["--device-model", device] if device else []), "--out", tmp_path / "out"]
        return sfumato("experiment", "prompt-set", *given, *small, *arguments)

    return run


def test_tables_and_panels_of_a_small_study_in_pieces(study, tmp_path: Path) -> None:
    code, out, err = study("--server-only", "--limit", 1)
    assert (code, out) == (0, "")
    assert "the server's part of 1 prompts computed" in err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"sweep.json", "latents", "seconds", "attention"}
    code, _, err = study()
    assert code == 0
    assert "the server's part of 1 prompts computed" in err
    assert "pictures of 2 prompts computed" in err
    assert "0 rounds of the server timed" in err
    assert "1 rounds of the client timed" in err
    written = {p.name for p in (tmp_path / "out").iterdir() if p.is_file()}
    assert written == {
        *("sweep.json", "tables.md", "pictures.csv", "seconds.csv", "attention.csv"),
        "pictures-2.png",
    }
    pictures = pl.read_csv(tmp_path / "out/pictures.csv")
    assert len(pictures) == 5 * 2
    assert set(pictures["way"]) == {
        "server only",
        "device only",
        "prompt-set, k = 2",
        "+ cache, 2-1-1",
        "+ reuse, 2-1-1",
    }
    seconds = pl.read_csv(tmp_path / "out/seconds.csv")
    assert set(seconds.filter(pl.col("side") == "server")["way"]) == {
        *("server only", "vanilla oblivious", "hybrid, k = 2", "prompt-set, k = 2", "+ cache, 2-1-1", "+ reuse, 2-1-1"),
    }
    text = (tmp_path / "out/tables.md").read_text()
    assert "## N = 2: gender" in text
    assert "explicit map" in text

    before = {name: (tmp_path / "out" / name).read_bytes() for name in written}
    code, _, err = study("--tables-only")
    assert (code, "computed" in err) == (0, False)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in written} == before


def test_a_killed_study_keeps_whole_batches(study, tmp_path: Path, monkeypatch) -> None:
    class Killed(ThisProcess):
        def map(self, function, items):
            for number, each in enumerate(super().map(function, items)):
                if number:
                    raise KeyboardInterrupt
                yield each

    monkeypatch.setattr("sfumato.cli.prompt_set_study.LocalWorkers", lambda *_: Killed())
    small = [*SMALL, "--prompts", "2=1,6=1", "--rounds", 0, "--attention", "none"]
    code, _, err = study("--server-only", small=small)
    assert code == 130
    assert "the same command goes on from there" in err
    assert len(list((tmp_path / "out/latents").glob("*.parquet"))) == 1
    monkeypatch.setattr("sfumato.cli.prompt_set_study.LocalWorkers", lambda *_: ThisProcess())
    code, _, err = study("--server-only", small=small)
    assert (code, "the server's part of 1 prompts computed" in err) == (0, True)
    assert len(list((tmp_path / "out/latents").glob("*.parquet"))) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--prompts", "3=4"], "--prompts must be N=COUNT[,N=COUNT...] with N among 2, 6, 30, got '3=4'"),
        (["--prompts", "2=0"], "--prompts must be N=COUNT"),
        (["--prompts", "2=1,2=2"], "--prompts names a size twice"),
        (["--server-steps", "3-2"], "server_steps must be three numbers k-r-s"),
        (["--server-steps", "3-1-2"], "the server's steps (k=3) must be fewer than its schedule's (3)"),
        (["--networks", "mine"], "--networks must be one of auto, bundled, published, got 'mine'"),
        (["--attention", "nowhere"], "no model 'nowhere'"),
    ],
)
def test_wrong_arguments(study, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    code, out, err = study(*arguments)
    assert code != 0
    assert out == ""
    assert sentence in one_sentence(err)
    assert not (tmp_path / "out").exists()


def test_a_model_without_a_known_device_model(study) -> None:
    code, _, err = study(device=None)
    assert code == 2
    assert "no device model is known for 'tiny-sd': name one of the same latent space" in one_sentence(err)


def test_a_folder_of_another_study(study) -> None:
    study("--server-only", "--rounds", 0, "--attention", "none", "--limit", 1)
    code, _, err = study("--server-steps", "2-2-2")
    assert code == 2
    assert "holds another sweep, with other settings" in one_sentence(err)
