"""``sfumato vault`` from the command line: pictures in, pictures out, and one sentence for whatever is wrong."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kept_clouds import KeptClouds
from sfumato.cli.keys import keys as make_keys
from sfumato.client.local_clouds import LocalClouds
from sfumato.crypto.key_search import holds_secret_key
from sfumato.crypto.parameters import parameters_named
from sfumato.crypto.seal import seal_context
from sfumato.models.decoding import decode, to_uint8
from sfumato.models.encoding import encode
from sfumato.models.loading import load_decoder, load_encoder

pytest.importorskip("tenseal")


class InProcessKeeper(KeptClouds):
    """In place of a local cloud process."""

    made: list["InProcessKeeper"] = []  # noqa: RUF012

    def __init__(self, model, num_clouds, *, vault, idle_seconds):
        assert (model, num_clouds) == (None, 1)
        super().__init__(vault)
        self.is_open = False
        self.made.append(self)

    def start(self):
        self.is_open = True
        return self

    @contextmanager
    def open_channel(self, *, timeout_seconds):
        with super().open_channel() as channel:
            yield channel

    def close(self):
        self.is_open = False


@pytest.fixture(autouse=True)
def keepers(monkeypatch):
    monkeypatch.setattr("sfumato.cli.vaulting.LocalClouds", InProcessKeeper)
    InProcessKeeper.made = []
    return InProcessKeeper.made


@pytest.fixture
def vault(sfumato, tmp_path, tiny_sd) -> Callable[..., str]:
    """Runs a command on one vault, and returns what it printed."""

    def run(*arguments: object, code: int = 0) -> str:
        local = [] if arguments[0] == "list" else ["--local-clouds", 1]
        found, out, err = sfumato("vault", *arguments, "--vault", tmp_path / "v", *local)
        assert found == code, err
        assert "Traceback" not in err
        return out if code == 0 else sentence_of(err)

    return run


def sentence_of(stderr: str) -> str:
    (line,) = stderr.strip().splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def draw(path: Path, seed: int, size=(32, 32)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def filled(vault, tmp_path, tiny_sd):
    """With the latents of two pictures."""
    for seed, name in ((1, "one"), (2, "two")):
        draw(tmp_path / f"{name}.png", seed)
        vault("put", tmp_path / f"{name}.png", "--name", name, "--model", tiny_sd.path)
    InProcessKeeper.made.clear()
    return vault


def latent_of(path: Path, model) -> torch.Tensor:
    picture = torch.from_numpy(np.array(Image.open(path)) / 255).float().permute(2, 0, 1)[None]
    return encode(load_encoder(model), picture)


def assert_shows(path: Path, latent: torch.Tensor, model) -> None:
    expected = to_uint8(decode(load_decoder(model), latent))[0].astype(int)
    assert abs(np.array(Image.open(path)).astype(int) - expected).max() <= 1


def test_pictures_go_in_and_come_out(filled, tmp_path, tiny_sd):
    one, two = (latent_of(tmp_path / f"{name}.png", tiny_sd) for name in ("one", "two"))
    mask = np.zeros((64, 32), dtype=np.uint8)
    mask[:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    printed = filled("blend", "one", "two", "--mask", tmp_path / "mask.png", "--name", "both")
    assert "the mask of 64 x 32 pixels was averaged to the latent's 16 x 16 cells" in printed
    assert "blended 'one' and 'two' to 'both': " in printed
    assert " kB up, " in printed
    assert printed.rstrip().endswith(" ms")
    filled("interpolate", "one", "two", "--weight", 0.3, "--name", "mixed")
    filled("watermark", "both", "--mark", tmp_path / "one.png", "--strength", 0.5, "--name", "marked")
    for name in ("one", "both", "mixed"):
        filled("get", name, "--out", tmp_path / f"{name}-out.png")
    assert_shows(tmp_path / "one-out.png", one, tiny_sd)
    cells = torch.zeros(16, 16)
    cells[:7], cells[7] = 1, 0.5
    assert_shows(tmp_path / "both-out.png", cells * one + (1 - cells) * two, tiny_sd)
    assert_shows(tmp_path / "mixed-out.png", 0.3 * one + 0.7 * two, tiny_sd)
    for name in ("both", "marked"):
        filled("get", name, "--out", tmp_path / f"{name}.npy")
    mark = np.load(tmp_path / "marked.npy") - np.load(tmp_path / "both.npy")
    black, white = (encode(load_encoder(tiny_sd), torch.full((1, 3, 32, 32), grey)) for grey in (0.0, 1.0))
    grey = np.array(Image.open(tmp_path / "one.png").convert("L")).reshape(16, 2, 16, 2).mean((1, 3)) / 255
    expected = 0.5 * grey * (white - black)[0].mean((1, 2), keepdim=True).numpy()
    assert np.allclose(mark[0], expected, atol=1e-5)
    listed = filled("list")
    assert all(name in listed for name in ("one", "two", "both", "mixed", "marked"))
    assert "dropped 'one': " in filled("drop", "one")
    assert "one" not in filled("list")


@pytest.mark.parametrize("ending", ["npy", "safetensors"])
def test_latents_go_in_and_come_out(vault, tmp_path, tiny_sd, ending):
    from safetensors.torch import save_file

    latent = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(1))
    if ending == "npy":
        np.save(tmp_path / "in.npy", latent.numpy())
    else:
        save_file({"x": latent}, tmp_path / "in.safetensors")
    vault("put", tmp_path / f"in.{ending}", "--name", "x", "--model", tiny_sd.path)
    vault("get", "x", "--out", tmp_path / f"out.{ending}")
    from sfumato.client.latent_files import read_latent

    assert torch.allclose(read_latent(tmp_path / f"out.{ending}", tiny_sd), latent[None], rtol=0, atol=1e-6)


# Whatever is wrong


@pytest.fixture
def refused(sfumato, filled, tmp_path):
    """Runs a command that is refused before a cloud is asked, and checks that nothing was written."""

    def run(code: int, *arguments: object, cloud: tuple[object, ...] = ("--local-clouds", 1)) -> str:
        before = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*") if f.name != "lock" and f.is_file()}
        found, out, err = sfumato("vault", *arguments, "--vault", tmp_path / "v", *cloud)
        assert (found, out) == (code, ""), err
        assert {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*") if f.name != "lock" and f.is_file()} == before
        assert not any(keeper.is_open or keeper.seen for keeper in InProcessKeeper.made)
        return sentence_of(err)

    return run


def test_wrong_usage(refused, tmp_path):
    get = ("get", "one", "--out", tmp_path / "x.png")
    assert "name the cloud that keeps the vault" in refused(2, *get, cloud=())
    assert "name the cloud that" in refused(2, *get, cloud=("--local-clouds", 1, "--clouds", "127.0.0.1:1"))
    assert "--clouds needs --keys" in refused(2, *get, cloud=("--clouds", "127.0.0.1:1"))
    assert "kept by one cloud" in refused(2, *get, cloud=("--clouds", "a:1,b:2", "--keys", tmp_path))
    assert "Invalid value for '--local-clouds'" in refused(2, *get, cloud=("--local-clouds", 2))
    assert "keeps no 'three': it keeps one, two" in refused(2, "get", "three", "--out", tmp_path / "x.png")
    assert "must name a .png, .npy or .safetensors file" in refused(2, "get", "one", "--out", tmp_path / "x.jpg")
    assert "make it first" in refused(2, "get", "one", "--out", tmp_path / "no/x.png")
    assert "weight must be in [0, 1]" in refused(2, "interpolate", "one", "two", "--weight", 2, "--name", "x")
    mark = ("watermark", "one", "--mark", tmp_path / "one.png", "--name")
    assert "Invalid value for '--strength'" in refused(2, *mark, "x", "--strength", 5)
    assert "keeps a 'two' already" in refused(2, *mark, "two")


def test_files_that_are_no_pictures_or_latents(refused, tmp_path, tiny_sd, portraits):
    (tmp_path / "bad.png").write_bytes((tmp_path / "one.png").read_bytes()[:200])
    (tmp_path / "bad.npy").write_bytes(b"x")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "wide.npy", np.zeros((7, 4, 4), dtype=np.float32))
    np.save(tmp_path / "whole.npy", np.zeros((4, 4, 4), dtype=np.int64))
    draw(tmp_path / "odd.png", 1, (31, 32))
    name = ("--name", "x", "--model", tiny_sd.path)
    for file, sentence in {
        "nosuch.png": "there is no such file",
        "bad.png": "as a picture: it is damaged, or something else",
        "bad.npy": "as a latent: it is damaged, or something else",
        "objects.npy": "as a latent: it is damaged, or something else",
        "wide.npy": "holds no latent of one picture of tiny-sd, which has 4 channels",
        "whole.npy": "holds no latent of one picture",
        "odd.png": "must be positive multiples of 2 for this model, got 31 and 32",
    }.items():
        assert sentence in refused(2, "put", tmp_path / file, *name)
    assert "no such file" in refused(2, "blend", "one", "two", "--mask", tmp_path / "nosuch.png", "--name", "x")
    assert "no model 'nosuch'" in refused(1, "put", tmp_path / "one.png", "--name", "x", "--model", "nosuch")


def test_no_vault_a_damaged_one_and_one_without_its_key(refused, sfumato, tmp_path):
    nowhere = ("--vault", tmp_path / "nowhere", "--local-clouds", 1)
    for command in (["list"], ["get", "one", "--out", tmp_path / "x.png"], ["drop", "one"]):
        found, _, err = sfumato("vault", *command, *(nowhere[:2] if command == ["list"] else nowhere))
        assert found == 1
        assert sentence_of(err) == f"{tmp_path / 'nowhere'} holds no vault: 'sfumato vault put' makes one"
    assert not (tmp_path / "nowhere").exists()
    os.rename(tmp_path / "v/key", tmp_path / "key")
    assert "cannot read" in refused(1, "get", "one", "--out", tmp_path / "x.png")
    (tmp_path / "v/index.json").write_text("{")
    assert "index.json is damaged" in refused(1, "drop", "one")


def test_another_autoencoder_than_when_it_was_put(refused, tmp_path, tiny_sd):
    index = tmp_path / "v/index.json"
    index.write_text(index.read_text().replace(tiny_sd.vae_fingerprint, "0" * 64))
    assert "has another autoencoder than when the latent was put" in refused(
        1, "get", "one", "--out", tmp_path / "x.png"
    )


def test_without_its_library(sfumato, tmp_path, tiny_sd, monkeypatch):
    seal_context.cache_clear()
    for module in ("tenseal", "tenseal.sealapi"):
        monkeypatch.setitem(sys.modules, module, None)
    try:
        draw(tmp_path / "one.png", 1)
        arguments = ("--vault", tmp_path / "v", "--local-clouds", 1, "--model", tiny_sd.path)
        found, _, err = sfumato("vault", "put", tmp_path / "one.png", "--name", "one", *arguments)
    finally:
        seal_context.cache_clear()
    assert found == 1
    assert "pip install 'sfumato[he]'" in sentence_of(err)
    assert [f.name for f in tmp_path.iterdir()] == ["one.png"]


def test_generate_says_where_the_vault_is(sfumato):
    found, _, err = sfumato("generate", "x", "--protocol", "vault", "--clouds", "127.0.0.1:1", "--keys", "nosuch")
    assert found == 2
    assert sentence_of(err).startswith("vault makes no pictures: see 'sfumato vault --help'")


# Processes


def test_a_local_cloud_in_a_process_of_its_own(vault, tiny_sd, tmp_path, monkeypatch):
    """What it keeps is there for the next command's cloud, which is another process, and holds no key."""
    monkeypatch.setattr("sfumato.cli.vaulting.LocalClouds", LocalClouds)
    draw(tmp_path / "in.png", 1)
    vault("put", tmp_path / "in.png", "--name", "x", "--model", tiny_sd.path)
    vault("get", "x", "--out", tmp_path / "out.png")
    assert_shows(tmp_path / "out.png", latent_of(tmp_path / "in.png", tiny_sd), tiny_sd)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["in.png", "out.png", "v"]
    kept = b"".join(f.read_bytes() for f in (tmp_path / "v/cloud").rglob("*") if f.is_file())
    assert len(kept) > 60_000
    assert not holds_secret_key(kept, parameters_named("vault"))
    assert holds_secret_key(kept + (tmp_path / "v/key").read_bytes(), parameters_named("vault")), (
        "the search finds a key"
    )


def test_a_remote_cloud_keeps_a_vault_if_it_was_started_to(tiny_sd, tmp_path, sfumato):
    make_keys(tmp_path / "keys", clouds=1, host=None, days=1.0)
    draw(tmp_path / "in.png", 1)
    words = [sys.executable, "-m", "sfumato", "serve", "--model", tiny_sd.path, "--keys", tmp_path / "keys/cloud-1"]
    words += ["--host", "127.0.0.1", "--port", "0", "--vault", tmp_path / "store", "--vault-latents", 1]
    cloud = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with cloud:
        try:
            assert cloud.stdout is not None
            port = cloud.stdout.readline().rpartition(":")[2].strip()
            where = ("--vault", tmp_path / "v", "--clouds", f"127.0.0.1:{port}", "--keys", tmp_path / "keys")
            put = ("put", tmp_path / "in.png", "--model", tiny_sd.path, *where, "--name")
            assert sfumato("vault", *put, "x")[0] == 0
            found, _, err = sfumato("vault", *put, "y")
            assert found == 1
            assert "a vault has room for 1 latents here: drop some first" in sentence_of(err)
            assert sfumato("vault", "get", "x", "--out", tmp_path / "out.png", *where)[0] == 0
        finally:
            cloud.terminate()
    assert_shows(tmp_path / "out.png", latent_of(tmp_path / "in.png", tiny_sd), tiny_sd)
