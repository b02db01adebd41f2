import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from experiments.conftest import write_csv
from sfumato.cli.app import app
from sfumato.errors import ModelError, SpecMismatch
from sfumato.experiments import picturing
from sfumato.experiments.grid import Sweep
from sfumato.experiments.rows import PictureRow, RowStore, from_png
from sfumato.experiments.running import Extent, Shard, run
from sfumato.experiments.workers import Workers
from sfumato.models.folder import ModelFolder, find_model
from sfumato.protocols.plain.spec import Plain
from sfumato.randomness import seeded_generator
from sfumato.simulation import simulate
from sfumato.version import VERSION


class ThisProcess(Workers):
    """Computes in the test's own process, and counts."""

    def __init__(self) -> None:
        self.num_batches = 0

    def map(self, function, items):
        for item in items:
            self.num_batches += 1
            yield item, function(item)

    def close(self) -> None:
        pass


def console() -> Console:
    return Console(file=io.StringIO())


def rows_of(out: Path) -> pl.DataFrame:
    """All rows without what differs from run to run."""
    return RowStore(out / "rows", PictureRow).read(without=["seconds"])


@pytest.fixture(scope="module")
def whole(small_sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The rows of an undisturbed run."""
    out = tmp_path_factory.mktemp("whole")
    assert run(small_sweep, Extent(), out, ThisProcess(), console()) == 15
    return rows_of(out)


def test_rows_say_what_they_are(whole: pl.DataFrame, small_sweep: Sweep, tiny_sd: ModelFolder) -> None:
    assert set(whole["case"]) == {case for b in small_sweep.batches() for case in b.cases}
    split = whole.filter(pl.col("protocol") == "layer-split")
    assert split["reference"].is_in(set(whole["case"])).sum() == 5
    assert set(whole.filter(pl.col("protocol") == "plain")["reference"]) == {None}
    one = split.filter(pl.col("num_inference_steps") == 1).row(0, named=True)
    assert (one["num_clouds"], one["height"], one["width"], one["scheduler"]) == (2, 32, 32, "ddim")
    assert one["prompt"] == f"a man, number {one['prompt_index']}"
    assert one["seed"] == 100 + one["prompt_index"]
    assert one["model_fingerprint"] == tiny_sd.unet_fingerprint
    assert one["sfumato"] == VERSION
    assert one["sent_bytes"] > 1000


def test_a_picture_is_the_one_that_generate_makes(whole: pl.DataFrame, tiny_sd: ModelFolder) -> None:
    row = whole.filter(pl.col("protocol") == "plain").row(0, named=True)
    pipe = simulate(tiny_sd, Plain(), scheduler="ddim")
    alone = pipe(
        row["prompt"],
        generator=seeded_generator(row["seed"]),
        num_inference_steps=1,
        guidance_scale=5.0,
        height=32,
        width=32,
        output_type="np",
    ).images[0]
    # A batch of two may round otherwise than one picture alone.
    assert np.abs(from_png(row["picture"]).astype(int) - alone).max() <= 1


def test_limits_and_shards_add_up_to_the_whole(small_sweep: Sweep, tmp_path: Path, whole: pl.DataFrame) -> None:
    out = tmp_path / "parts"
    assert run(small_sweep, Extent(limit=2, ablation_limit=0), out, ThisProcess(), console()) == 4
    assert run(small_sweep, Extent(shard=Shard(2, 2)), out, ThisProcess(), console()) == 6
    assert run(small_sweep, Extent(), out, ThisProcess(), console()) == 5
    nothing = ThisProcess()
    assert run(small_sweep, Extent(), out, nothing, console()) == nothing.num_batches == 0
    assert rows_of(out).equals(whole)


def test_nothing_to_do_is_said(small_sweep: Sweep, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to compute: raise --limit, or ask for fewer shards"):
        run(small_sweep, Extent(limit=1, shard=Shard(2, 2)), tmp_path, ThisProcess(), console())


def test_a_worker_of_another_version_or_model_refuses(small_sweep: Sweep, tmp_path: Path, monkeypatch) -> None:
    batch = small_sweep.batches()[0]
    with pytest.raises(SpecMismatch, match="install the same version everywhere"):
        picturing.compute(batch, "0.0.0", None)
    monkeypatch.setattr(picturing, "find_model", lambda _: find_model("portraits"))
    with pytest.raises(ModelError, match="is not the sweep's: give every machine the same folder"):
        picturing.compute(batch, VERSION, None)


def test_killed_and_started_again_gives_the_same_rows(tiny_sd: ModelFolder, tmp_path: Path, monkeypatch) -> None:
    prompts = write_csv(tmp_path / "prompts.csv", 9)

    def arguments(out: str) -> list[str]:
        study = ["--model", str(tiny_sd.path), "--prompts", f"some={prompts}", "--clouds", "2", "--step-counts", "1"]
        extent = ["--steps", "1", "--limit", "4", "--ablation-limit", "0", "--batch-size", "1", "--workers", "1"]
        return ["experiment", "ppidm-fidelity", *study, *extent, "--out", str(tmp_path / out)]

    with subprocess.Popen([sys.executable, "-m", "sfumato", *arguments("killed")], stderr=subprocess.PIPE) as process:
        while len(list((tmp_path / "killed").glob("rows/*.parquet"))) < 3 and process.poll() is None:
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "killed/rows").glob("*.parquet")}
    assert 3 <= len(before) < 12

    monkeypatch.setattr("sfumato.cli.experimenting.LocalWorkers", lambda *_: ThisProcess())
    for out in ("killed", "whole"):
        assert app(arguments(out), standalone_mode=False) is None
    assert all(path.stat().st_mtime_ns == written for path, written in before.items()), "a finished row was repeated"
    assert rows_of(tmp_path / "killed").equals(rows_of(tmp_path / "whole"))
