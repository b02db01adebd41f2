"""``sfumato keys`` and ``sfumato serve`` as a deployment uses them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sfumato.cli.keys import keys
from sfumato.cli.serve import serve
from sfumato.client.remote_clouds import RemoteClouds
from sfumato.client.sessions import open_session
from sfumato.errors import AccessRefused, SpecMismatch
from sfumato.models.folder import ModelFolder
from sfumato.protocols.plain.spec import Plain

CLI = (sys.executable, "-c", "from sfumato.cli import main; main()")


def test_a_deployment_is_three_commands(
    tiny_sd: ModelFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys(tmp_path / "keys", clouds=1, host=None, days=1.0)
    assert "cloud-1 goes to the operator of cloud-1" in capsys.readouterr().out
    command = [*CLI, "serve", "--model", str(tiny_sd.path), "--keys", str(tmp_path / "keys/cloud-1")]
    cloud = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert cloud.stdout is not None
    assert cloud.stderr is not None
    with cloud:
        line = cloud.stdout.readline().decode()
        assert line.startswith("cloud-1 serves ")
        remote = RemoteClouds(f"127.0.0.1:{line.rpartition(':')[2].strip()}", tmp_path / "keys")
        with remote.open_channel() as channel:
            open_session(channel, Plain(num_clouds=1), tiny_sd.unet_fingerprint)
        with remote.open_channel() as channel, pytest.raises(SpecMismatch, match="it serves another model"):
            open_session(channel, Plain(num_clouds=1), "0" * 64)
        cloud.send_signal(signal.SIGTERM)
        assert cloud.wait(10) == 0
        log = cloud.stderr.read().decode()
    assert "session 2 opened" in log
    assert "Traceback" not in log
    assert (tmp_path / "keys/cloud-1/token").read_text() not in log


def test_wrong_keys_end_the_command_at_once(tmp_path: Path) -> None:
    with pytest.raises(AccessRefused, match="cannot read"):
        serve(keys=tmp_path)
    with pytest.raises(AccessRefused, match="cannot read"):
        RemoteClouds("127.0.0.1:7001", tmp_path)


SERVE_ODDLY = """
import logging
from odd_clouds import OddSession
from sfumato.transport.keys import throw_away_keys
from sfumato.worker.service import ServiceLimits, serve
keys = throw_away_keys(1).clouds[0]
serve(OddSession, keys, host="127.0.0.1", port=0, limits=ServiceLimits(), ready=lambda port: print(port, flush=True))
"""


def test_an_interrupted_cloud_stops_cleanly() -> None:
    cloud = subprocess.Popen(
        [sys.executable, "-c", SERVE_ODDLY],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert cloud.stdout is not None
    assert cloud.stderr is not None
    with cloud:
        assert cloud.stdout.readline().strip().isdigit()
        cloud.send_signal(signal.SIGINT)
        assert cloud.wait(10) == 0
        assert cloud.stderr.read() == b""
