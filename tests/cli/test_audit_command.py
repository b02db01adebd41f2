"""``sfumato audit`` from runs to report; bad input ends in one sentence, before anything is run."""

import json
from pathlib import Path

import pytest

FEW = ["--samples", "2", "--batch-size", "2", "--steps", "2", "--attack", "seed-search count=1100"]
PROMPT = "a painting of an old man with a grey beard, at the sea"


def _report(out: Path) -> dict:
    return json.loads((out / "report.json").read_text())


def test_audits_runs_that_it_makes(tmp_path, sfumato):
    out = tmp_path / "audit"
    code, told, _ = sfumato("audit", "--out", out, "--protocol", "layer-split num_clouds=2", *FEW)
    assert code == 0
    assert "layer-split num_clouds=2" in told
    report = _report(out)
    assert {line["verdict"] for line in report["lines"]} == {"leaks"}
    assert {line["clouds"] for line in report["lines"]} == {"1", "2", "1,2"}
    assert (out / "report.html").stat().st_size > 10_000
    before = sorted((out / "rows").iterdir())
    assert sfumato("audit", "--out", str(out), "--protocol", "layer-split num_clouds=2", *FEW)[0] == 0
    assert sorted((out / "rows").iterdir()) == before


def test_audits_runs_that_were_recorded(tmp_path, sfumato, local_clouds):
    runs = [tmp_path / name for name in ("first", "second")]
    for seed, run in enumerate(runs):
        arguments = ["--protocol", "layer-split", "--set", "num_clouds=2", "--local-clouds", "2", "--steps", "2"]
        files = ["--record", str(run), "--secrets", f"{run}.safetensors", "--out", f"{run}.png"]
        assert sfumato("generate", PROMPT, "--seed", str(seed), *arguments, *files)[0] == 0
    secrets = [part for run in runs for part in ("--secrets", f"{run}.safetensors")]
    out = tmp_path / "audit"
    assert sfumato("audit", *map(str, runs), *secrets, "--out", str(out), *FEW)[0] == 0
    found = {line["clouds"]: line for line in _report(out)["lines"]}
    assert set(found) == {"1", "2", "1,2"}
    assert all(line["row"]["num_secrets"] == 2 and line["verdict"] == "leaks" for line in found.values())


def test_one_recorded_run_with_a_prompt_that_says_little(tmp_path, sfumato, local_clouds):
    run, secrets = tmp_path / "run", tmp_path / "s.safetensors"
    files = ["--record", run, "--secrets", secrets, "--out", tmp_path / "p.png"]
    assert sfumato("generate", "a smiling woman", "--protocol", "plain", "--steps", 2, *files)[0] == 0
    attacks = ["--attack", "traffic runs=2", "--samples", 2, "--batch-size", 2, "--steps", 2]
    code, told, err = sfumato("audit", run, "--secrets", secrets, "--out", tmp_path / "audit", *attacks)
    assert code == 0, err
    assert "a single secret says nothing of the next one" in " ".join(told.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--protocol", "striped"], "striped"),
        (["--protocol", "plain num_cloud=2"], "num_cloud"),
        (["--attack", "guessing"], "no attack 'guessing'"),
        (["--attack", "seed-search counts=3"], "counts"),
        (["--coalitions", "one"], "--coalitions must be numbers of clouds"),
        (["--scheduler", "fast"], "fast"),
        (["nowhere"], "1 recorded runs came with 0 --secrets"),
        (["nowhere", "--secrets", "nothing.safetensors"], "nowhere holds no recording"),
    ],
)
def test_bad_input_ends_in_a_sentence(tmp_path, sfumato, arguments, sentence):
    out = tmp_path / "audit"
    code, _, err = sfumato("audit", "--out", out, *arguments)
    assert code != 0
    assert sentence in " ".join(err.split())
    assert not (out / "rows").exists() or not any((out / "rows").iterdir())


def test_a_file_is_no_folder(tmp_path, sfumato):
    (tmp_path / "audit").write_text("mine")
    code, _, err = sfumato("audit", "--out", tmp_path / "audit", *FEW)
    assert code == 2
    assert "must name a folder" in err
    assert (tmp_path / "audit").read_text() == "mine"
