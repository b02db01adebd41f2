"""The real command with real cloud processes: few, because each takes seconds."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from recorded import in_process, record, shape_of
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.transport.recording import Recording
from sfumato.wire.transcript import Direction

PROMPT = "a weatherbeaten fisherman"


def start(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sfumato", "generate", PROMPT, *map(str, arguments)]
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


class LongRun:
    """A run of very many steps, caught when its first step's messages have been written down."""

    def __init__(self, tiny_sd, folder: Path, num_clouds: int, *settings: str):
        self.folder = folder
        arguments = ["--model", tiny_sd.path, "--local-clouds", num_clouds, "--height", 32, "--width", 32, *settings]
        arguments += ["--scheduler", "ddim"]
        outputs = ["--out", folder / "x.png", "--report", folder / "r.json", "--record", folder / "rec"]
        self.process = start(folder, *arguments, *outputs, "--steps", 900)
        transcript = folder / "rec/cloud-2.transcript"
        wait_until(
            lambda: self.process.poll() is not None or (transcript.exists() and os.stat(transcript).st_size > 1e5)
        )
        assert self.process.poll() is None, self.process.communicate()
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        assert len(self.family) == 1 + num_clouds, "a nursery and the clouds"

    def ended(self) -> tuple[int, str]:
        """Exit code and stderr, once the client has ended; and nothing is left."""
        out, err = self.process.communicate(timeout=30)
        wait_until(lambda: not any(is_alive(p) for p in self.family), 10)
        assert out == ""
        assert sorted(f.name for f in self.folder.iterdir()) == ["rec"]
        assert "Traceback" not in err
        assert "fisherman" not in err
        return self.process.returncode, err.strip()


@pytest.fixture
def long_run(tiny_sd, tmp_path):
    yield from caught(LongRun(tiny_sd, tmp_path, 2))


@pytest.fixture
def composed_run(tiny_sd, tmp_path):
    pytest.importorskip("tenseal")
    yield from caught(LongRun(tiny_sd, tmp_path, 3, "--protocol", "homomorphic", "--set", "denoise_with=strip-split"))


def caught(run: LongRun) -> Iterator[LongRun]:
    yield run
    for process in (run.process, *run.family):
        if process.poll() is None if isinstance(process, subprocess.Popen) else is_alive(process):
            process.kill()
    run.process.communicate(timeout=30)


def test_ctrl_c_ends_client_and_clouds_and_leaves_no_picture(long_run):
    long_run.process.send_signal(signal.SIGINT)
    assert long_run.ended() == (130, "Error: interrupted; nothing was written")


def test_a_killed_client_leaves_no_cloud_behind(long_run):
    long_run.process.kill()
    assert long_run.ended() == (-signal.SIGKILL, "")


def test_a_cloud_that_dies_ends_the_run(long_run):
    long_run.family[-1].kill()
    code, err = long_run.ended()
    assert code == 1
    assert err.startswith("Error: cloud-")
    assert "died or ended the session" in err
    assert "\n" not in err


@pytest.mark.parametrize("killed", [1, 3])
def test_when_a_cloud_that_denoises_or_holds_ciphertexts_dies_the_others_end_too(composed_run, killed):
    composed_run.family[killed].kill()
    code, err = composed_run.ended()
    assert code == 1
    assert err.startswith(f"Error: cloud-{killed}")
    assert "died or ended the session" in err
    assert "\n" not in err


def test_real_processes_are_sent_what_clouds_in_process_are_sent(tiny_sd, tmp_path):
    arguments = ["--model", tiny_sd.path, "--local-clouds", 2, "--height", 32, "--width", 32, "--scheduler", "ddim"]
    outputs = ["--protocol", "layer-split", "--out", tmp_path / "x.png", "--record", tmp_path / "real"]
    process = start(tmp_path, *arguments, *outputs, "--steps", 2, "--seed", 3)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (0, "")
    real = Recording.read(tmp_path / "real")
    own = record(tiny_sd, LayerSplit(num_clouds=2), tmp_path / "own", PROMPT, height=32, width=32).recording
    assert real.meta == own.meta
    for cloud in ("cloud-1", "cloud-2"):
        pairs = list(zip(real.transcripts[cloud].entries, own.transcripts[cloud].entries, strict=True))
        assert [shape_of(a) for a, _ in pairs[2:]] == [shape_of(b) for _, b in pairs[2:]]
        for a, b in pairs:
            for name, tensor in a.tensors.items():
                assert (tensor - b.tensors[name]).abs().max() <= 1e-3 * max(1.0, tensor.abs().max())


def test_a_cloud_in_a_process_of_its_own_holds_ciphertexts(tiny_sd, tmp_path):
    pytest.importorskip("tenseal")
    arguments = ["--model", tiny_sd.path, "--protocol", "homomorphic", "--height", 32, "--width", 32]
    outputs = ["--out", tmp_path / "x.png", "--report", tmp_path / "r.json", "--record", tmp_path / "rec"]
    process = start(tmp_path, *arguments, *outputs, "--steps", 2, "--seed", 3)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (0, "")
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["totals"]["rounds"], report["encryption"]["ciphertexts"]) == (5, 3)
    (transcript,) = Recording.read(tmp_path / "rec").transcripts.values()
    replies = ["Welcome", "Added", "Added", "Added", "Accumulator"]
    assert [e.kind for e in transcript.entries if e.direction is Direction.FROM_CLOUD] == replies
    pipe = in_process(tiny_sd, Plain(), "dpm++")
    own = pipe(PROMPT, height=32, width=32, num_inference_steps=2, seed=3, output_type="np").images[0]
    assert abs(own.astype(int) - np.asarray(Image.open(tmp_path / "x.png"), dtype=int)).max() <= 1


def test_clouds_in_processes_of_their_own_denoise_while_one_holds_ciphertexts(tiny_sd, tmp_path):
    pytest.importorskip("tenseal")
    arguments = ["--model", tiny_sd.path, "--height", 32, "--width", 32, "--steps", 2, "--seed", 3]
    composed = ["--protocol", "homomorphic", "--set", "denoise_with=strip-split", "--set", "denoise.num_clouds=2"]
    outputs = ["--out", tmp_path / "x.png", "--report", tmp_path / "r.json", "--record", tmp_path / "rec"]
    process = start(tmp_path, *arguments, *composed, *outputs)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (0, "")
    pipe = in_process(tiny_sd, StripSplit(num_clouds=2), "dpm++")
    own = pipe(PROMPT, height=32, width=32, num_inference_steps=2, seed=3, output_type="np").images[0]
    assert abs(own.astype(int) - np.asarray(Image.open(tmp_path / "x.png"), dtype=int)).max() <= 1
    report = json.loads((tmp_path / "r.json").read_text())
    assert [cloud["name"] for cloud in report["clouds"]] == ["cloud-1", "cloud-2", "cloud-3"]
    assert report["denoise_with"]["clouds"] == ["cloud-2", "cloud-3"]
    transcripts = Recording.read(tmp_path / "rec").transcripts
    replies = ["Welcome", "Added", "Added", "Added", "Accumulator"]
    assert [e.kind for e in transcripts["cloud-1"].entries if e.direction is Direction.FROM_CLOUD] == replies


def test_a_value_that_a_field_does_not_take(tiny_sd, tmp_path):
    """In a process of its own: in this one the types are checked before the spec's own words are said."""
    process = start(
        tmp_path,
        "--model",
        tiny_sd.path,
        "--protocol",
        "layer-split",
        "--set",
        "offload=foo",
        "--out",
        tmp_path / "x.png",
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err.strip() == (
        "Error: layer-split: offload must be among conv, pointwise_conv, self_attention, cross_attention, norm, got foo"
    )
    assert list(tmp_path.iterdir()) == []
