"""The bench of the vault counts what it says."""

import json

import pytest
from typer.testing import CliRunner

from sfumato.cli.app import app

pytest.importorskip("tenseal")


def test_the_command_writes_a_row_for_each_latent_and_command(tmp_path):
    result = CliRunner().invoke(app, ["bench", "vault", "--repeats", "1", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "vault.jsonl").read_text().splitlines()]
    commands = ["put", "blend", "interpolate", "watermark", "get, put", "get, blended", "drop"]
    assert [(row["latent"], row["command"]) for row in rows] == [
        (latent, command) for latent in ("4 x 32 x 32", "4 x 64 x 64") for command in commands
    ]
    by_command = {row["command"]: row for row in rows[7:]}
    assert 550_000 < by_command["put"]["sent_bytes"] < 570_000
    assert 735_000 < by_command["get, blended"]["received_bytes"] < 750_000
    assert by_command["interpolate"]["sent_bytes"] < 500 < 16_384 < by_command["blend"]["sent_bytes"] < 17_000
    assert by_command["blend"]["ratio"] > 1
    assert by_command["put"]["ratio"] is None
    for row in rows:
        assert row["client_milliseconds"] > 0 < row["cloud_milliseconds"]
        assert row["put_error"] < 1e-13 < row["blend_error"] < 1e-8 < row["fetched_blend_error"] < 1e-6
    assert "in the clear" in (tmp_path / "vault.txt").read_text()
