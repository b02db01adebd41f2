"""``sfumato generate --protocol homomorphic --set denoise_with=…``: what it starts, and what it says at the end."""

import json

import pytest

pytest.importorskip("tenseal")

COMPOSED = ["--protocol", "homomorphic", "--set", "denoise_with=strip-split"]


def test_five_clouds_by_default_and_a_table_that_says_who_saw_what(sfumato, tiny_sd, tmp_path, local_clouds):
    small = ["--model", tiny_sd.path, "--steps", 2, "--height", 32, "--width", 32, "--seed", 3]
    files = ["--out", tmp_path / "x.png", "--report", tmp_path / "r.json"]
    code, out, err = sfumato("generate", "x", *COMPOSED, "--set", "denoise.wire=int8", *small, *files)
    assert (code, err.strip()) == (0, "")
    assert [clouds._num_clouds for clouds in local_clouds] == [5]
    said = " ".join(out.split())
    assert "homomorphic, denoising with strip-split on tiny-sd" in said
    assert "cloud-1 │ ciphertexts" in said
    assert "cloud-5 │ tile 4 of 4" in said
    assert "cloud-1 (homomorphic): The cloud receives the latents of every step as ciphertexts alone" in said
    assert "cloud-2 to cloud-5 (strip-split): None of 4 non-colluding clouds receives" in said
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["spec"]["num_clouds"], report["denoise_with"]["spec"]["wire"]) == (5, "int8")


@pytest.mark.parametrize(("more", "num"), [(["denoise.num_clouds=2"], 3), (["num_clouds=4"], 4)], ids=str)
def test_as_many_clouds_as_the_settings_say(sfumato, tiny_sd, tmp_path, local_clouds, more, num):
    settings = [word for pair in more for word in ("--set", pair)]
    small = ["--model", tiny_sd.path, "--steps", 1, "--height", 32, "--width", 32, "--out", tmp_path / "x.png"]
    code, _, err = sfumato("generate", "x", *COMPOSED, *settings, *small)
    assert (code, err.strip()) == (0, "")
    assert [clouds._num_clouds for clouds in local_clouds] == [num]


def test_help_says_how_the_denoising_protocol_is_set(sfumato):
    code, out, _ = sfumato("generate", "--protocol", "homomorphic", "--help")
    assert code == 0
    assert "settings of that protocol are denoise.FIELD=VALUE" in " ".join(out.replace("│", " ").split())
