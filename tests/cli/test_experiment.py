"""``sfumato experiment``: what a person sees, and every way to hold it wrong."""

from pathlib import Path

import polars as pl
import pytest

from cli.conftest import one_sentence
from experiments.conftest import write_csv
from experiments.test_running import ThisProcess

STUDY = ["--steps", 1, "--step-counts", 1, "--clouds", 2, "--merge", "paper", "--networks", "bundled"]


@pytest.fixture
def study(sfumato, tiny_sd, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("sfumato.cli.experimenting.LocalWorkers", lambda *_: ThisProcess())
    prompts = write_csv(tmp_path / "prompts.csv", 4)

    def run(*arguments: object, prompts: object = f"art={prompts}", out: object = tmp_path / "out"):
        given = ["--prompts", prompts, "--model", tiny_sd.path, "--out", out]
        return sfumato("experiment", "ppidm-fidelity", *given, *STUDY, *arguments)

    return run


def test_tables_and_figures_of_a_small_study(study, tmp_path: Path) -> None:
    code, out, err = study("--limit", 2)
    assert (code, out) == (0, "")
    written = {p.name for p in (tmp_path / "out").iterdir()}
    assert written == {
        *("sweep.json", "rows", "scores", "table.md", "table.csv"),
        *("figure-5-clouds.png", "figure-6-layers.png", "figure-8-sizes.png"),  # one number of steps: no figure of it
    }
    assert "table.md" in err
    text = (tmp_path / "out/table.md").read_text()
    assert "FD-portraits" in text
    assert "FID" not in text.replace("FID and CLIP", "").replace("SSIM, LPIPS and FID", "").replace("LPIPS, FID", "")
    table = pl.read_csv(tmp_path / "out/table.csv")
    assert set(table["pairs"].drop_nulls()) == {2}


def test_a_later_call_goes_on_and_tables_only_computes_nothing(study, tmp_path: Path) -> None:
    study("--limit", 1, "--ablation-limit", 0)
    before = (tmp_path / "out/table.md").read_bytes()
    code, _, err = study("--limit", 1, "--ablation-limit", 0, "--tables-only")
    assert (code, "computed" in err) == (0, False)
    assert (tmp_path / "out/table.md").read_bytes() == before
    code, _, err = study("--limit", 2, "--ablation-limit", 0)
    assert "2 pictures computed" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--shard", "3/2"], "--shard must be I/K with I from 1 to K, got '3/2'"),
        (["--shard", "x"], "--shard must be I/K"),
        (["--shard", "2/2", "--limit", "1"], "there is nothing to compute: raise --limit, or ask for fewer shards"),
        (["--clouds", "two"], "--clouds must be numbers with commas between them, got 'two'"),
        (["--clouds", "64"], "num_clouds must be at most"),
        (["--merge", "mean"], "--merge must be among exact, paper, got mean"),
        (["--networks", "mine"], "--networks must be one of auto, bundled, published, got 'mine'"),
        (["--ray", "nowhere"], "--ray must be auto, HOST:PORT or ray://HOST:PORT, got 'nowhere'"),
    ],
)
def test_wrong_arguments(study, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    code, out, err = study(*arguments)
    assert (code, out) == (2, "")
    assert sentence in one_sentence(err)
    assert not (tmp_path / "out/rows").exists()


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        ("prompts.csv", "--prompts must be NAME=FILE[,FILE...], got 'prompts.csv'"),
        ("art=", "--prompts must be NAME=FILE"),
        ("art=nowhere.csv", "prompts cannot be read from nowhere.csv: No such file or directory"),
    ],
)
def test_wrong_prompts(study, prompts: str, sentence: str) -> None:
    code, _, err = study(prompts=prompts)
    assert code == 2
    assert sentence in one_sentence(err)


def test_a_folder_of_another_sweep(study, tmp_path: Path) -> None:
    study("--limit", 1, "--ablation-limit", 0)
    rows = sorted((tmp_path / "out/rows").iterdir())
    code, _, err = study("--limit", 1, "--batch-size", 3)
    assert code == 2
    assert "holds another sweep, with other batch size: name a new folder with --out" in one_sentence(err)
    assert sorted((tmp_path / "out/rows").iterdir()) == rows


def test_a_cluster_that_does_not_answer(study) -> None:
    code, _, err = study("--ray", "127.0.0.1:9")
    assert code == 1
    assert "no Ray cluster answers at 127.0.0.1:9" in one_sentence(err)


def test_without_the_extra(study, monkeypatch) -> None:
    monkeypatch.setattr("sfumato.cli.experiment.find_spec", lambda name: None if name == "polars" else name)
    code, _, err = study()
    assert code == 1
    assert one_sentence(err) == "experiments need polars: pip install 'sfumato[experiments]'"
