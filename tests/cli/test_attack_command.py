"""``sfumato attack`` and ``generate --secrets``: from a command to a judged guess."""

import json
import stat

import pytest
import torch
from PIL import Image

from sfumato.run_secrets import RunSecrets

pytest.importorskip("tenseal")
PROMPT = "a weatherbeaten fisherman"


@pytest.fixture
def recorded(sfumato, tiny_sd, tmp_path, local_clouds):
    """Makes a recorded run with its secrets; gives its folder."""

    def make(*arguments):
        small = ["--model", tiny_sd.path, "--steps", 3, "--height", 32, "--width", 32, "--seed", 5]
        files = ["--out", tmp_path / "p.png", "--record", tmp_path / "run", "--secrets", tmp_path / "s.safetensors"]
        code, _, err = sfumato("generate", PROMPT, *small, *files, *arguments)
        assert code == 0, err
        return tmp_path

    return make


PAPER = ["--protocol", "homomorphic", "--set", "mode=paper"]


@pytest.mark.parametrize("protocol", ["plain", "layer-split", "strip-split", "homomorphic"])
def test_secrets_of_every_stepwise_protocol(recorded, protocol):
    folder = recorded("--protocol", protocol)
    path = folder / "s.safetensors"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secrets = RunSecrets.read(path)
    assert (secrets.prompt, secrets.negative_prompt, secrets.seed) == (PROMPT, None, 5)
    assert secrets.latents.shape == (4, 1, 4, 16, 16)
    assert PROMPT not in repr(secrets)
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(secrets.latents[0], torch.randn(1, 4, 16, 16, generator=generator))
    assert not [p for p in (folder / "run").rglob("*") if p.suffix == ".safetensors"]


def test_a_guess_is_printed_judged_and_written(sfumato, recorded, tiny_sd):
    folder = recorded(*PAPER, "--set", "threshold=0.3")
    common = ["--model", tiny_sd.path, "--set", "samples=2"]
    judges = ["--secrets", folder / "s.safetensors", "--truth", folder / "p.png"]
    code, out, err = sfumato("attack", "remainder", folder / "run", *common, *judges, "--out", folder / "g.png")
    assert code == 0, err
    assert "remainder on homomorphic with tiny-sd" in out
    assert "with the recording" in out
    assert "without it" in out
    with Image.open(folder / "g.png") as picture:
        assert picture.size == (32, 32)
    code, out, _ = sfumato("attack", "predictions", folder / "run", *common, *judges, "--format", "json")
    found = json.loads(out)
    assert code == 0
    assert set(found) == {"sfumato", "attack", "settings", "model", "protocol", "spec", "finding", "scores"}
    assert found["settings"] == {"use_remainder": True, "samples": 2}
    assert found["scores"]["guess"]["correlation"] > found["scores"]["prior"]["correlation"]
    assert PROMPT not in out


def test_without_truth_nothing_is_judged(sfumato, recorded, tiny_sd):
    folder = recorded(*PAPER, "--set", "selection=all")
    code, out, _ = sfumato("attack", "predictions", folder / "run", "--model", tiny_sd.path, "--format", "json")
    assert code == 0
    assert json.loads(out)["scores"] == {}


def test_several_pictures_are_numbered(sfumato, recorded, tiny_sd):
    folder = recorded(*PAPER, "--num-images", 2)
    code, _, err = sfumato("attack", "predictions", folder / "run", "--model", tiny_sd.path, "--out", folder / "g.png")
    assert code == 0, err
    assert sorted(p.name for p in folder.glob("g*.png")) == ["g-1.png", "g-2.png"]


def test_every_attack_is_listed(sfumato):
    code, out, _ = sfumato("attack", "--list")
    assert code == 0
    for word in ("predictions", "remainder", "key", "use_remainder", "samples"):
        assert word in out


@pytest.mark.parametrize(
    ("code", "arguments", "sentence"),
    [
        (2, [], "name an attack and a recorded run"),
        (2, ["voodoo", "{run}"], "no attack 'voodoo': choose one of finish-denoising, "),
        (2, ["key", "{run}", "--set", "x=1"], "key has no setting 'x': write FIELD=VALUE with one of samples"),
        (2, ["key", "{run}", "--set", "samples=x"], "samples must be a number, got 'x'"),
        (2, ["key", "{run}", "--out", "g.jpg"], "--out must name a .png file, got g.jpg"),
        (2, ["key", "{run}", "--truth", "{run}/no.png"], "no.png is no file"),
        (1, ["key", "{run}/no"], "holds no recording that can be read"),
        (1, ["key", "{run}"], "no two full ciphertexts whose decrypted values"),
        (1, ["key", "{run}", "--model", "portraits"], "made with another model than 'portraits'"),
        (1, ["predictions", "{run}", "--secrets", "{run}/meta.json"], "holds no secrets of a run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_refused(sfumato, recorded, tiny_sd, code, arguments, sentence):
    folder = recorded(*PAPER, "--set", "threshold=0.3")
    given = [a.replace("{run}", str(folder / "run")) for a in arguments]
    model = [] if "--model" in given or not given else ["--model", tiny_sd.path]
    found, out, err = sfumato("attack", *given, *model)
    assert (found, out) == (code, "")
    assert sentence in err
    assert len(err.strip().splitlines()) == 1


def test_secrets_of_another_run(sfumato, recorded, tiny_sd, tmp_path):
    folder = recorded(*PAPER)
    other = RunSecrets(
        model_fingerprint=tiny_sd.unet_fingerprint,
        prompt="x",
        negative_prompt="y",
        seed=None,
        latents=torch.zeros(3, 2, 4, 16, 16),
    )
    other.write(tmp_path / "other.safetensors")
    read = RunSecrets.read(tmp_path / "other.safetensors")
    assert (read.negative_prompt, read.seed) == ("y", None)
    arguments = ["--model", tiny_sd.path, "--secrets", tmp_path / "other.safetensors", "--set", "samples=2"]
    code, _, err = sfumato("attack", "predictions", folder / "run", *arguments)
    assert code == 2
    assert "the secrets are of latents of shape" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--secrets", "{tmp}/s.bin"], "--secrets must name a .safetensors file"),
        (["--secrets", "{tmp}/no/s.safetensors"], "no does not exist; make it first"),
        (["--secrets", "{tmp}/rec/s.safetensors", "--record", "{tmp}/rec"], "is in the folder of --record"),
        (["--secrets", "{tmp}/s.safetensors", "--report", "{tmp}/s.safetensors"], "another output are both named"),
        (
            ["--secrets", "{tmp}/s.safetensors", "--protocol", "prompt-set"],
            "with prompt-set the first steps are made at the cloud alone",
        ),
    ],
    ids=["kind", "folder", "in the recording", "two outputs", "prompt-set"],
)
def test_secrets_that_cannot_be_written(refused, tmp_path, arguments, sentence):
    assert sentence in refused(2, *(a.replace("{tmp}", str(tmp_path)) for a in arguments))


def test_secrets_are_never_overwritten(refused, tmp_path):
    (tmp_path / "s.safetensors").write_text("kept")
    assert "exists: name a new file" in refused(2, "--secrets", tmp_path / "s.safetensors")
    assert (tmp_path / "s.safetensors").read_text() == "kept"


def test_recovered_words_are_printed_and_judged(sfumato, recorded, tiny_sd):
    folder = recorded("--protocol", "layer-split", "--local-clouds", 2)
    common = ["--model", tiny_sd.path, "--clouds", "cloud-2", "--set", "samples=5"]
    code, out, err = sfumato("attack", "read-prompt", folder / "run", *common, "--secrets", folder / "s.safetensors")
    assert code == 0, err
    assert "exact" in out
    code, out, _ = sfumato("attack", "read-prompt", folder / "run", *common, "--format", "json")
    assert code == 0
    assert [text.split() for text in json.loads(out)["guess"]] == [PROMPT.split()]
    (folder / "texts").write_text(f"a horse\n\n{PROMPT}\n")
    ranking = ["--candidates", folder / "texts", "--steps", 3, "--format", "json", "--model", tiny_sd.path]
    code, out, err = sfumato("attack", "rank-prompts", folder / "run", *ranking)
    assert code == 0, err
    assert json.loads(out)["guess"][0][0]["text"] == PROMPT
    code, _, err = sfumato("attack", "rank-prompts", folder / "run", "--clouds", "cloud-9", "--model", tiny_sd.path)
    assert code == 2
    assert "no cloud 'cloud-9'" in err
