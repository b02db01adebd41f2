"""The bench of custody counts what it says."""

import json

from typer.testing import CliRunner

from sfumato.bench.encryption import measure
from sfumato.cli.app import app


def test_bytes_and_ciphertexts_are_those_of_the_parameters():
    row = measure("4 x 64 x 64", "sealed", 1)
    assert row.ciphertexts == 4
    assert 250 << 10 < row.sent_bytes < 270 << 10 < row.fetched_bytes < 540 << 10
    assert row.largest_error < 1e-9
    assert row.ratio > 1


def test_the_command_writes_a_row_for_each_latent_and_set(tmp_path):
    result = CliRunner().invoke(app, ["bench", "encryption", "--repeats", "1", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "encryption.jsonl").read_text().splitlines()]
    assert [(row["latent"], row["parameters"]) for row in rows] == [
        (latent, name) for latent in ("4 x 32 x 32", "4 x 64 x 64") for name in ("sealed", "compact")
    ]
    assert "client, ratio" in (tmp_path / "encryption.txt").read_text()
