"""``sfumato experiment inversion``: a small study, its resumption, and ways to hold it wrong."""

import fcntl
from pathlib import Path

import polars as pl
import pytest

from cli.conftest import one_sentence
from sfumato.attacks.inversion import query_pictures
from sfumato.experiments.inversion_quality import computing, plan
from sfumato.experiments.inversion_quality.scale import Scale
from sfumato.portraits.attributes import VALUES

TINY = {
    "white_iterations": 2,
    "white_steps": 1,
    "direct_iterations": 2,
    "decoder_iterations": 1,
    "queries": 8,
    "epochs": 1,
    "black_epochs": 1,
    "black_steps": 1,
    "training_batch": 4,
    "channels": 4,
    "text_iterations": 1,
    "text_steps": 1,
    "ablation_queries": "4,8",
    "clips": 2,
    "frames": 2,
    "clip_iterations": 1,
    "clip_steps": 1,
    "count_iterations": 1,
    "step_counts": "1,2",
    "draws": 1,
    "full_iterations": 14,
    "full_steps": 1,
}
SMALL = ["--pictures", 2, *(part for name, value in TINY.items() for part in ("--set", f"{name}={value}"))]


@pytest.fixture(autouse=True)
def few_cuts(monkeypatch) -> None:
    deep = (("portraits-resnet", "L12"),)
    for name in ("CUTS", "TEXT_CUTS", "BLACK_TEXT_CUTS"):
        monkeypatch.setattr(plan, name, deep)
    # The tiny model's tokenizer goes letter by letter.
    monkeypatch.setattr(query_pictures.Painted, "texts", lambda _, start, stop: ["a man"] * (stop - start))


@pytest.fixture
def study(sfumato, tiny_sd, tmp_path: Path):
    def run(*arguments: object, out="out", small=SMALL):
        return sfumato("experiment", "inversion", "--model", tiny_sd.path, "--out", tmp_path / out, *small, *arguments)

    return run


def computed(err: str) -> int:
    return int(err.split(" cells computed")[0].split()[-1])


def rows_of(out: Path) -> pl.DataFrame:
    return pl.read_parquet(out / "rows" / "*.parquet")


def test_shards_then_tables_then_the_same_from_rows_alone(study, tmp_path: Path) -> None:
    out, tables = tmp_path / "out", ("--table", 1, "--table", 2)
    numbers = []
    for shard in ("1/2", "2/2"):
        code, printed, err = study(*tables, "--shard", shard)
        assert (code, printed) == (0, ""), err
        numbers.append(computed(err))
    rows = rows_of(out)
    assert rows["case"].is_unique().all()
    assert sum(numbers) == rows["cell"].n_unique() == 5
    assert min(numbers) > 0
    assert set(rows["words"]) <= {"", *(f"{value} background" for value in VALUES["background"])}
    assert set(rows["picture"].bin.starts_with(b"\x89PNG")) == {True}
    assert not list((out / "checkpoints").iterdir())
    text = (out / "tables.md").read_text()
    assert "portraits-resnet L12 (ResNet-18 L12)" in text
    assert "## Table 4" not in text, "nothing of it is computed"
    findings = (out / "findings.md").read_text()
    assert "not computed" in findings
    assert "white box, portraits-resnet L12" in findings
    assert (out / "panel-1-portraits-resnet.png").stat().st_size > 0

    exported = pl.read_parquet(out / "rows.parquet")
    assert set(exported["picture"]) == {b""}
    code, _, err = study(*tables, "--rows", out / "rows.parquet", out="again")
    assert (code, computed(err)) == (0, 0), err
    assert (tmp_path / "again" / "tables.md").read_text() == text
    assert not list((tmp_path / "again").glob("*.png"))

    other = exported.with_columns(settings=pl.col("settings").str.replace('"tv_weight": 1.0', '"tv_weight": 2.0'))
    other.write_parquet(tmp_path / "other.parquet")
    _, _, err = study("--tables-only", "--rows", tmp_path / "other.parquet", out="third")
    assert "so there are no tables" in err, "rows of other settings do not count"
    other.write_parquet(next((out / "rows").glob("*.parquet")))
    code, _, err = study("--tables-only")
    assert (code, "with another tv_weight than it has by now" in one_sentence(err)) == (1, True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_table(study, tmp_path: Path) -> None:
    code, _, err = study()
    assert code == 0, err
    text = (tmp_path / "out" / "tables.md").read_text()
    assert "not computed" not in text
    for title in ("Table 1", "Table 2", "Table 3", "Table 4", "Table 5", "Section 7.6", "Section 6.6", "Section 7.5"):
        assert f"## {title}" in text
    assert computed(study()[2]) == 0


def test_an_interrupted_cell_goes_on_from_its_checkpoint(study, tmp_path: Path, monkeypatch) -> None:
    told: list[int] = []
    real = computing.Watch

    def interrupting(**given):
        def stop(progress):
            told.append(progress.done)
            if len(told) == 12:
                raise KeyboardInterrupt

        return real(**{**given, "on_iteration": stop})

    monkeypatch.setattr(computing, "Watch", interrupting)
    code, _, err = study("--table", "full")
    assert code == 130
    assert "the same command goes on from there" in err
    assert not list((tmp_path / "out" / "rows").glob("*.parquet"))
    code, _, err = study("--table", "full")
    assert (code, computed(err)) == (0, 1), err
    assert told[12:] == [11, 12, 13, 14], "from the tenth iteration, where a checkpoint was written"


def test_a_cell_that_another_process_computes_is_left_to_it(study, tiny_sd, tmp_path: Path) -> None:
    cell = plan.plan(Scale(**TINY, pictures=2, text_pictures=2))["full"].entries[0].cell
    locks = tmp_path / "out" / "locks"
    assert study("--table", "full", "--tables-only")[0] == 0
    locks.mkdir()
    with (locks / f"{cell.identity(tiny_sd.unet_fingerprint, 1)}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, _, err = study("--table", "full")
    assert (code, computed(err)) == (0, 0)
    assert "so there are no tables" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--table", "6"], "--table must be one of 1, 4, 2, ablation, clips, clips-black, 5, 3, full, got '6'"),
        (["--scale", "huge"], "--scale must be one of small, paper, got 'huge'"),
        (["--set", "nothing=1"], "the study has no setting 'nothing'"),
        (["--set", "queries=0"], "queries must be at least 1, got 0"),
        (["--set", "step_counts=5,1"], "step_counts must be rising whole numbers with commas between them, got '5,1'"),
        (["--set", "ablation_queries=a"], "ablation_queries must be rising whole numbers"),
        (["--shard", "3/2"], "--shard must be I/K with I from 1 to K, got '3/2'"),
        (["--device", "abacus"], "--device must be auto, cpu or cuda, got 'abacus'"),
        (["--rows", "nowhere.parquet"], "nowhere.parquet holds no rows of this study, or is damaged"),
    ],
)
def test_wrong_arguments(study, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    code, out, err = study(*arguments, small=["--pictures", 2])
    assert code != 0
    assert out == ""
    assert sentence in one_sentence(err)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_folder_of_another_study(study, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sweep.json").write_text('{"experiment": "prompt-set", "model_fingerprint": ""}')
    code, _, err = study("--table", "full")
    assert code == 2
    assert "holds another sweep" in one_sentence(err)
