"""``sfumato bench inversion`` on a tiny model."""

import json

import pytest

from sfumato.attacks.targets.random_target import write_random_target
from sfumato.bench.inversion import InversionRequest, bench_inversion


def test_an_iteration_stands_beside_its_bare_passes(tiny_sd, tmp_path, capsys):
    target = write_random_target("tiny-vit", tmp_path / "vit")
    request = InversionRequest(
        model=str(tiny_sd.path), target=str(target), layer="L1", pictures=2, steps=3, repeats=2, out=tmp_path / "out"
    )
    bench_inversion(request)
    row = json.loads((tmp_path / "out" / "inversion.jsonl").read_text())
    assert row["bare"] == pytest.approx(3 * row["unet"] + row["decoder"] + row["first"])
    assert row["ratio"] == pytest.approx(row["iteration"] / row["bare"])
    assert 0.5 < row["ratio"] < 5
    assert "bare passes" in capsys.readouterr().out
