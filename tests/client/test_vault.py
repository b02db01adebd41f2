"""Latents in a vault: the arithmetic, what leaves the client, and what is refused before anything does."""

import json
import math
import os
import shutil
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kept_clouds import KeptClouds, vault_at
from sfumato.client.vault import FLOOD_BITS
from sfumato.client.vault_folder import VaultFolder, locked
from sfumato.crypto.key_file import write_key
from sfumato.crypto.key_search import holds_secret_key
from sfumato.crypto.parameters import parameters_named
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import StorageError, Unsupported, WireError, WorkerError
from sfumato.protocols.serialised import as_tensor
from sfumato.protocols.vault.spec import Held
from sfumato.protocols.vault.store import StoreLimits

pytest.importorskip("tenseal")

PARAMETERS = parameters_named("vault")
SHAPE = (1, 4, 8, 6)
MASK = torch.rand(8, 6, generator=torch.Generator().manual_seed(3))


def latent(seed, shape=SHAPE):
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def clouds(tmp_path):
    return KeptClouds(tmp_path / "store")


@pytest.fixture
def vault(tmp_path, clouds, tiny_sd):
    """With two latents in it."""
    vault = vault_at(tmp_path / "vault", clouds)
    for name, seed in (("a", 1), ("b", 2)):
        vault.put(name, latent(seed), tiny_sd)
    clouds.seen.clear()
    return vault


def exactly(a, b):
    """Equal up to 1e-6, which is the noise that is added to whatever is fetched, and to the last bit of fp32."""
    return torch.allclose(a.double(), b.double(), rtol=1e-7, atol=1e-6)


# The arithmetic


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 99), height=st.integers(1, 40), width=st.integers(1, 40), weight=st.floats(0, 1))
def test_services_equal_the_arithmetic_in_the_clear(seed, height, width, weight, tiny_sd, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    vault = vault_at(folder / "vault", KeptClouds(folder / "store"))
    shape = (1, 4, height, width)
    a, b, mark = latent(seed, shape), latent(seed + 1, shape), latent(seed + 2, shape)[0]
    mask = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    exact_a, exact_b, exact_mark, exact_mask = a.double(), b.double(), mark.double(), mask.double()
    blended = exact_mask * exact_a + (1 - exact_mask) * exact_b
    vault.put("a", a, tiny_sd)
    vault.put("b", b, tiny_sd)
    vault.blend("a", "b", mask, "blended")
    vault.interpolate("a", "b", weight, "mixed")
    vault.add_mark("blended", mark, "marked")
    vault.add_mark("a", mark, "early")
    vault.interpolate("early", "b", weight, "late")
    expected = {
        "a": exact_a,
        "blended": blended,
        "mixed": weight * exact_a + (1 - weight) * exact_b,
        "marked": blended + exact_mark,
        "early": exact_a + exact_mark,
        "late": weight * (exact_a + exact_mark) + (1 - weight) * exact_b,
    }
    for name, exact in expected.items():
        assert exactly(vault.get(name)[0], exact), name


@pytest.mark.parametrize("mask", [torch.zeros(8, 6), torch.ones(8, 6)], ids=["black", "white"])
def test_a_mask_of_one_grey(vault, mask):
    vault.blend("a", "b", mask, "c")
    assert exactly(vault.get("c")[0], latent(1) if mask.any() else latent(2))


def test_what_is_fetched_is_flooded(vault, monkeypatch):
    """Each time anew, and by what the set leaves room for."""
    first, second = vault.get("a")[0], vault.get("a")[0]
    assert not torch.equal(first, second)
    kept = []
    real = SecretKey.decrypt
    monkeypatch.setattr(SecretKey, "decrypt", lambda *a, **k: (kept.append(k), real(*a, **k))[1])
    vault.blend("a", "b", MASK, "c")
    vault.add_mark("c", latent(5)[0], "d")
    vault.get("d")
    assert kept == [{"flood_bits": FLOOD_BITS, "num_terms": 2.0}]


def test_it_is_there_for_another_process_with_the_folder(vault, tmp_path, clouds):
    vault.blend("a", "b", MASK, "c")
    again = vault_at(tmp_path / "vault", KeptClouds(clouds.folder))
    assert exactly(again.get("c")[0], MASK * latent(1) + (1 - MASK) * latent(2))
    assert again.drop("c")[0]
    assert sorted(VaultFolder.open(tmp_path / "vault").latents) == ["a", "b"]
    assert len(list(clouds.folder.rglob("*.ckks"))) == 2


def test_costs_are_counted(vault):
    _, cost = vault.get("a")
    assert cost.received_bytes > 60_000 > cost.sent_bytes > 0
    assert cost.milliseconds > 0


# What the cloud learns


def test_no_key_name_or_latent_reaches_the_cloud_or_its_disk(tmp_path, tiny_sd):
    clouds = KeptClouds(tmp_path / "store")
    vault = vault_at(tmp_path / "vault", clouds)
    own = {"weatherbeaten": latent(1), "fisherman": latent(2)}
    for name, values in own.items():
        vault.put(name, values, tiny_sd)
    vault.blend("weatherbeaten", "fisherman", MASK, "both")
    vault.interpolate("weatherbeaten", "fisherman", 0.5, "mixed")
    vault.add_mark("both", latent(4)[0], "marked")
    fetched = [vault.get(name)[0] for name in ("weatherbeaten", "marked")]
    vault.drop("mixed")
    index = VaultFolder.open(tmp_path / "vault")
    content = clouds.bytes_seen + clouds.bytes_kept
    key_file = (tmp_path / "vault/key").read_bytes()
    assert holds_secret_key(content + key_file, PARAMETERS, index.key()), "the search finds a key"
    assert not holds_secret_key(content, PARAMETERS, index.key())
    for word in (*own, "marked", "tiny-sd", tiny_sd.vae_fingerprint, tiny_sd.unet_fingerprint, str(tmp_path)):
        assert word.encode() not in content
    for values in (*own.values(), latent(4), *fetched):
        for form in (values, values.double()):
            assert form.flatten()[:3].numpy().tobytes() not in content
    assert MASK.flatten()[:3].numpy().tobytes() in content, "a mask is in the clear, and the search finds it"


def test_nothing_is_sent_after_a_latent_was_fetched_whatever_it_is(vault, clouds, monkeypatch):
    closed = []
    real = SecretKey.decrypt

    def decrypt(*arguments, **settings):
        closed.append(clouds.kinds[-1])
        raise WireError("ciphertexts do not decrypt under this key: of another")

    monkeypatch.setattr(SecretKey, "decrypt", decrypt)
    with pytest.raises(WireError, match="the cloud returned no latent of this vault: ciphertexts do not decrypt"):
        vault.get("a")
    refused = list(clouds.kinds)
    clouds.seen.clear()
    monkeypatch.setattr(SecretKey, "decrypt", real)
    vault.get("a")
    assert clouds.kinds == refused == ["Hello", "OpenVault", "Get"]
    assert closed == ["Get"]


def test_handles_and_vaults_say_nothing_and_repeat_nothing(vault, clouds, tmp_path, tiny_sd):
    vault.put("c", latent(1), tiny_sd)
    opened = next(m.vault for m in clouds.seen if type(m).__name__ == "OpenVault")
    assert opened == VaultFolder.open(tmp_path / "vault").vault
    assert len({stored.handle for stored in VaultFolder.open(tmp_path / "vault").latents.values()} | {opened}) == 4


# What is refused before a cloud is contacted


def unlike(folder, name, **changes):
    """Changes the index, as if something else had been put."""
    index = VaultFolder.open(folder)
    index.add(name, replace(index.find(name), **changes))


REFUSED = {
    "unknown name": (lambda v, m: v.get("x"), "keeps no 'x': it keeps a, b"),
    "unknown second": (lambda v, m: v.interpolate("a", "x", 0.5, "c"), "keeps no 'x'"),
    "nothing to drop": (lambda v, m: v.drop("x"), "keeps no 'x'"),
    "a name that is taken": (lambda v, m: v.put("a", latent(1), m), "keeps a 'a' already: drop it first"),
    "a result that is taken": (lambda v, m: v.blend("a", "b", MASK, "b"), "keeps a 'b' already"),
    "a mark that is taken": (lambda v, m: v.add_mark("a", latent(1)[0], "b"), "keeps a 'b' already"),
    "a name that is a path": (lambda v, m: v.put("../x", latent(1), m), "a name has 1 to 100 letters"),
    "an empty name": (lambda v, m: v.put("", latent(1), m), "a name has 1 to 100 letters"),
    "itself": (lambda v, m: v.interpolate("a", "a", 0.5, "c"), "'a' combined with itself is itself"),
    "a mask of another size": (lambda v, m: v.blend("a", "b", MASK.T, "c"), "and 8 x 6 of them for this latent"),
    "a mask above one": (lambda v, m: v.blend("a", "b", MASK * 9, "c"), "a mask has values from 0 to 1"),
    "a mask that is not finite": (lambda v, m: v.blend("a", "b", MASK * math.nan, "c"), "a mask has values from 0 to"),
    "a weight above one": (lambda v, m: v.interpolate("a", "b", 1.1, "c"), r"weight must be in \[0, 1\], got 1.1"),
    "a weight that is none": (lambda v, m: v.interpolate("a", "b", math.nan, "c"), r"in \[0, 1\], got nan"),
    "a mark of another shape": (lambda v, m: v.add_mark("a", MASK[None], "c"), "a mark of 1 x 8 x 6 does not fit 'a'"),
    "two latents at once": (lambda v, m: v.put("c", latent(1, (2, 4, 8, 6)), m), "a latent of one picture is stored"),
    "an empty latent": (lambda v, m: v.put("c", latent(1, (1, 4, 0, 6)), m), "a latent of one picture is stored"),
    "a large value": (lambda v, m: v.put("c", latent(1) * 1e3, m), "a value is not below 256"),
    "no number": (lambda v, m: v.put("c", latent(1) * math.inf, m), "a value is not below 256"),
    "a large mark": (lambda v, m: v.add_mark("a", latent(1)[0] * 1e3, "c"), "a value is not below 256"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_before_a_cloud_is_contacted(vault, clouds, tiny_sd, tmp_path, name):
    act, sentence = REFUSED[name]
    before = (tmp_path / "vault/index.json").read_bytes()
    with pytest.raises((ValueError, Unsupported), match=sentence):
        act(vault, tiny_sd)
    assert clouds.seen == []
    assert (tmp_path / "vault/index.json").read_bytes() == before


def test_latents_of_other_sizes_or_models_are_not_combined(vault, clouds, tmp_path, tiny_sd):
    vault.put("wide", latent(1, (1, 4, 8, 7)), tiny_sd)
    unlike(tmp_path / "vault", "b", fingerprint="0" * 64, model="another")
    vault = vault_at(tmp_path / "vault", clouds)
    clouds.seen.clear()
    with pytest.raises(ValueError, match="'a' is 4 x 8 x 6 and 'wide' 4 x 8 x 7: combine equal sizes"):
        vault.interpolate("a", "wide", 0.5, "c")
    with pytest.raises(ValueError, match="and 'b' of another: combine latents of one model"):
        vault.interpolate("a", "b", 0.5, "c")
    assert clouds.seen == []


def test_what_was_multiplied_is_not_multiplied_again(vault, clouds):
    vault.interpolate("a", "b", 0.5, "c")
    vault.add_mark("c", latent(5)[0], "d")
    clouds.seen.clear()
    for name in ("c", "d"):
        with pytest.raises(
            ValueError, match=f"'{name}' came out of a blend or an interpolation and cannot be multiplied"
        ):
            vault.interpolate(name, "a", 0.5, "e")
    assert clouds.seen == []


# What is refused by or because of the cloud


def test_a_put_that_fails_leaves_the_index_as_it_was(tmp_path, tiny_sd):
    clouds = KeptClouds(tmp_path / "store", StoreLimits(max_latents=1))
    vault = vault_at(tmp_path / "vault", clouds)
    vault.put("a", latent(1), tiny_sd)
    before = (tmp_path / "vault/index.json").read_bytes()
    with pytest.raises(WorkerError, match="cloud-1: a vault has room for 1 latents here: drop some first"):
        vault.put("b", latent(2), tiny_sd)
    assert (tmp_path / "vault/index.json").read_bytes() == before
    assert len(list(clouds.folder.rglob("*.ckks"))) == 1


def test_a_cloud_that_keeps_something_else(vault, clouds, tmp_path):
    shutil.rmtree(clouds.folder)
    with pytest.raises(WorkerError, match="cloud-1: it keeps no such latent: it was dropped, or was put at another"):
        vault.get("a")
    assert vault.drop("a")[0] is False
    assert list(VaultFolder.open(tmp_path / "vault").latents) == ["b"]


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c[:500] + b"x" + c[501:]], ids=["truncated", "altered"])
def test_a_latent_that_was_damaged_at_the_cloud(vault, clouds, damage):
    for file in clouds.folder.rglob("*.ckks"):
        file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(WorkerError, match="cloud-1: a latent was damaged on its disk: drop it, and put it again"):
        vault.get("a")


@pytest.mark.parametrize(
    ("alter", "sentence"),
    [
        (lambda c: c[:-1], "truncated or altered"),
        (lambda c: c[:500] + b"x" + c[501:], "fail their digest"),
        (lambda c: SecretKey(PARAMETERS).encrypt(torch.ones(9, dtype=torch.float64)), "do not decrypt under this key"),
        (lambda c: c[:7], "truncated"),
    ],
    ids=["truncated", "altered", "another key's", "next to nothing"],
)
def test_a_reply_that_is_not_the_latent(vault, monkeypatch, alter, sentence):
    from sfumato.protocols.vault.worker import VaultWorker

    real = VaultWorker.handle

    def handle(worker, request):
        reply = real(worker, request)
        return (
            Held(ciphertexts=as_tensor(alter(reply.ciphertexts.numpy().tobytes())))
            if isinstance(reply, Held)
            else reply
        )

    monkeypatch.setattr(VaultWorker, "handle", handle)
    with pytest.raises(WireError, match=f"the cloud returned no latent of this vault: .*{sentence}"):
        vault.get("a")


# The folder


def test_the_folder_is_private(vault, tmp_path):
    assert (tmp_path / "vault").stat().st_mode & 0o077 == 0
    assert {f.name: f.stat().st_mode & 0o077 for f in (tmp_path / "vault").iterdir()} == {"key": 0, "index.json": 0}


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/one.png").write_text("x")
    for place in (tmp_path / "photos", tmp_path / "photos/one.png"):
        with pytest.raises(ValueError, match="is no vault and not empty"):
            VaultFolder.make(place)
    with pytest.raises(ValueError, match="does not exist; make it first"):
        VaultFolder.make(tmp_path / "no/vault")
    with pytest.raises(StorageError, match="holds no vault: 'sfumato vault put' makes one"):
        VaultFolder.open(tmp_path / "nosuch")
    assert [f.name for f in (tmp_path / "photos").iterdir()] == ["one.png"]


def test_an_empty_folder_becomes_a_vault(tmp_path):
    (tmp_path / "vault").mkdir(mode=0o755)
    made = VaultFolder.make(tmp_path / "vault")
    assert made.vault == VaultFolder.open(tmp_path / "vault").vault
    assert (tmp_path / "vault").stat().st_mode & 0o077 == 0


def changed(**changes):
    def change(index):
        index.update(changes)

    return change


def changed_latent(**changes):
    def change(index):
        index["latents"]["a"].update(changes)

    return change


@pytest.mark.parametrize(
    "damage",
    [
        changed(vault="x"),
        changed(vault=3),
        changed(latents=[]),
        changed(latents={"../x": {}}),
        changed(latents={"a": {}}),
        changed_latent(handle="../key"),
        changed_latent(shape=[4, 8]),
        changed_latent(shape=[4, 8, 0]),
        changed_latent(level=-1),
        changed_latent(num_terms="many"),
        lambda index: index.pop("key"),
    ],
)
def test_a_damaged_index_is_one_sentence(vault, tmp_path, damage):
    file = tmp_path / "vault/index.json"
    index = json.loads(file.read_text())
    damage(index)
    file.write_text(json.dumps(index))
    with pytest.raises(StorageError, match=r"index.json is damaged: restore it from a copy of yours"):
        VaultFolder.open(tmp_path / "vault")


def test_an_index_that_is_cut_off_or_of_another_version(vault, tmp_path):
    file = tmp_path / "vault/index.json"
    text = file.read_text()
    file.write_text(text.replace('"version": 1', '"version": 2'))
    with pytest.raises(StorageError, match="was made by another version of sfumato"):
        VaultFolder.open(tmp_path / "vault")
    os.truncate(file, 100)
    with pytest.raises(StorageError, match=r"index.json is damaged"):
        VaultFolder.open(tmp_path / "vault")


def test_another_key_or_none_is_refused_before_a_cloud_is_contacted(vault, clouds, tmp_path, tiny_sd):
    key = tmp_path / "vault/key"
    kept = key.rename(tmp_path / "kept")
    commands = (
        lambda: vault.put("c", latent(3), tiny_sd),
        lambda: vault.get("a"),
        lambda: vault.add_mark("a", latent(3)[0], "c"),
    )
    for act in commands:
        with pytest.raises(StorageError, match="cannot read"):
            act()
    write_key(key, SecretKey(PARAMETERS))
    for act in commands:
        with pytest.raises(StorageError, match="is the key of something else"):
            act()
    shutil.copy(kept, key)
    os.chmod(key, 0o644)
    for act in commands:
        with pytest.raises(StorageError, match="can be read or changed by others"):
            act()
    assert clouds.seen == []
    vault.interpolate("a", "b", 0.5, "c")


def test_one_command_at_a_time(vault, tmp_path):
    path = tmp_path / "vault"
    with locked(path), pytest.raises(StorageError, match="another command is changing"), locked(path):
        pass
    with locked(tmp_path / "vault"):
        pass
