"""``sfumato keys`` and ``sfumato serve`` as a deployment uses them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sfumato.client.remote_clouds import RemoteClouds
from sfumato.client.sessions import open_session
from sfumato.errors import AccessRefused, SpecMismatch
from sfumato.models.folder import ModelFolder
from sfumato.protocols.plain.spec import Plain

CLI = (sys.executable, "-c", "from sfumato.cli import main; main()")


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_deployment_is_three_commands(tiny_sd: ModelFolder, tmp_path: Path, sign: signal.Signals) -> None:
    said = subprocess.run([*CLI, "keys", str(tmp_path / "keys"), "--clouds", "1"], capture_output=True, check=True)
    assert b"cloud-1 goes to" in said.stdout
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
        cloud.send_signal(sign)
        assert cloud.wait(10) == 0
        log = cloud.stderr.read().decode()
    assert "session 2 opened" in log
    assert "Traceback" not in log
    assert (tmp_path / "keys/cloud-1/token").read_text() not in log


def test_wrong_keys_end_the_command_at_once(tmp_path: Path) -> None:
    done = subprocess.run([*CLI, "serve", "--keys", str(tmp_path)], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"cannot read" in done.stderr
    assert b"Traceback" not in done.stderr
    with pytest.raises(AccessRefused, match="cannot read"):
        RemoteClouds("127.0.0.1:7001", tmp_path)
