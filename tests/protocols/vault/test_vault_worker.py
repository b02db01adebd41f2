"""A cloud keeps ciphertexts, combines them, and refuses whatever does not fit."""

from dataclasses import fields

import pytest
import torch

from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.parameters import parameters_named
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import SfumatoError, StorageError, Unsupported, WireError, WorkerError
from sfumato.protocols.serialised import as_tensor, content_of
from sfumato.protocols.specs import SERVICES, SPECS, find_served, find_spec
from sfumato.protocols.vault import spec as messages
from sfumato.protocols.vault.spec import AddMark, Blend, Drop, Get, Interpolate, Kept, OpenVault, Put, Vault
from sfumato.protocols.vault.store import StoreLimits, VaultStore
from sfumato.protocols.vault.worker import VaultWorker
from sfumato.version import VERSION
from sfumato.wire.messages import Hello, Message, Refusal, Welcome
from sfumato.worker.catalog import service_half
from sfumato.worker.sessions import CloudSession

pytest.importorskip("tenseal")

PARAMETERS = parameters_named("vault")
A, B, C, D, OWN, OTHER = (f"{i:032x}" for i in range(6))
ONES = torch.ones(5000, dtype=torch.float64)


@pytest.fixture(scope="module")
def key():
    return SecretKey(PARAMETERS)


@pytest.fixture(scope="module")
def contents(key):
    """Two latents of 5000 values, one of 9, each as a cloud is sent it."""
    return {A: key.encrypt(3 * ONES), B: key.encrypt(ONES), D: key.encrypt(ONES[:9])}


def unchecked(kind, **values):
    """A message as it comes off the wire where types are not checked, as in production."""
    message = object.__new__(kind)
    for f in fields(kind):
        object.__setattr__(message, f.name, values[f.name])
    return message


def put(handle, content, num=2):
    return unchecked(Put, handle=handle, num_ciphertexts=num, ciphertexts=as_tensor(content))


def blend(first=A, second=B, into=C, mask=None, channels=4):
    cells = torch.full((1250,), 0.25) if mask is None else mask
    return unchecked(Blend, first=first, second=second, into=into, mask=cells, channels=channels)


def mix(first=A, second=B, into=C, weight=0.25):
    return unchecked(Interpolate, first=first, second=second, into=into, weight=weight)


def opened(folder, limits=None, vault=OWN):
    half = VaultWorker(Vault(), VaultStore(folder, limits))
    assert half.handle(OpenVault(vault=vault)) == Kept()
    return half


@pytest.fixture
def half(tmp_path, contents):
    half = opened(tmp_path / "store")
    for handle, num in ((A, 2), (B, 2), (D, 1)):
        half.handle(put(handle, contents[handle], num))
    return half


def held(half, key, handle, level, num_values=5000):
    content = content_of(half.handle(Get(handle=handle)).ciphertexts)
    num = PARAMETERS.num_ciphertexts(num_values)
    return key.decrypt(Ciphertexts.from_bytes(content, PARAMETERS, num_ciphertexts=num, level=level), num_values)


def test_what_is_kept_is_what_came(half, contents):
    assert content_of(half.handle(Get(handle=A)).ciphertexts) == contents[A]


def test_the_services(half, key, contents):
    half.handle(blend())
    assert torch.allclose(held(half, key, C, 1), 1.5 * ONES, rtol=0, atol=1e-8)
    half.handle(mix(into=OTHER, weight=1.0))
    assert torch.allclose(held(half, key, OTHER, 1), 3 * ONES, rtol=0, atol=1e-8)
    half.handle(AddMark(handle=C, into=OWN, mark=as_tensor(contents[B])))
    assert torch.allclose(held(half, key, OWN, 1), 2.5 * ONES, rtol=0, atol=1e-8)
    marked = f"{99:032x}"
    half.handle(AddMark(handle=A, into=marked, mark=as_tensor(contents[B])))
    assert torch.allclose(held(half, key, marked, 0), 4 * ONES, rtol=0, atol=1e-12)
    half.handle(mix(first=marked, into=f"{98:032x}"))


def test_what_is_dropped_is_gone(half, tmp_path):
    (folder,) = (tmp_path / "store").iterdir()
    assert [half.handle(Drop(handle=A)).was_held for _ in range(2)] == [True, False]
    assert sorted(f.stem for f in folder.iterdir()) == [B, D]
    with pytest.raises(StorageError, match="it keeps no such latent"):
        half.handle(Get(handle=A))
    for handle in (B, D):
        half.handle(Drop(handle=handle))
    assert not folder.exists()


def test_it_is_there_after_a_restart_and_half_written_files_are_not(half, key, tmp_path):
    (folder,) = (tmp_path / "store").iterdir()
    (folder / f".{C}.ckks.x.partial").write_bytes(b"half")
    others = tmp_path / "store/others"
    others.mkdir()
    (others / f".{C}.ckks.x.partial").write_bytes(b"not ours")
    again = opened(tmp_path / "store")
    assert not list(folder.glob(".*"))
    assert len(list(others.iterdir())) == 1
    assert torch.allclose(held(again, key, A, 0), 3 * ONES, rtol=0, atol=1e-12)


def test_another_vault_sees_nothing_of_it(half, tmp_path):
    other = opened(tmp_path / "store", vault=OTHER)
    with pytest.raises(StorageError, match="it keeps no such latent"):
        other.handle(Get(handle=A))
    assert not other.handle(Drop(handle=A)).was_held
    half.handle(Get(handle=A))


def test_the_vaults_bits_are_not_on_disk(half, tmp_path):
    for file in (tmp_path / "store").rglob("*"):
        assert OWN not in str(file)
        assert file.is_dir() or OWN.encode() not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0


CELLS = torch.full((1250,), 0.5)
REFUSED = {
    "another vault": (OpenVault(vault=OTHER), "a session has one vault"),
    "a reply": (Kept(), "vault does not answer Kept"),
    "a handle that is a path": (Get(handle="../../x"), "a handle is 32 hexadecimal digits"),
    "a handle in capitals": (Get(handle=A[:-1] + "A"), "a handle is 32 hexadecimal digits"),
    "a new handle that is none": (blend(into="x"), "a handle is 32 hexadecimal digits"),
    "a handle that is taken": (mix(into=D), "it keeps a latent of this handle already"),
    "a latent that is not there": (mix(second=C), "it keeps no such latent"),
    "a latent with itself": (mix(second=A), "a latent combined with itself is itself"),
    "latents of two sizes": (mix(second=D), "cannot subtract 1 ciphertexts of 'vault' from 2"),
    "a weight above one": (mix(weight=1.5), "a weight lies between 0 and 1"),
    "a weight that is none": (mix(weight=float("nan")), "a weight lies between 0 and 1"),
    "a mask above one": (blend(mask=CELLS * 3), "a mask lies between 0 and 1"),
    "a mask that is not finite": (blend(mask=CELLS * float("nan")), "a mask lies between 0 and 1"),
    "a mask of two axes": (blend(mask=CELLS[None]), "a mask is a list of numbers"),
    "a mask of whole numbers": (blend(mask=CELLS.long()), "a mask is a list of numbers"),
    "a mask of nothing": (blend(mask=CELLS[:0]), "a mask is a list of numbers"),
    "a mask that is too long": (blend(channels=8), "10000 values do not fit 2 ciphertexts"),
    "channels that no memory holds": (blend(channels=10**12), "a mask of 1250 cells cannot be for"),
    "no channels": (blend(channels=0), "a mask of 1250 cells cannot be for 0 channels"),
    "no ciphertexts": (put(C, b"x", 0), "takes 1 to 1024 ciphertexts, not 0"),
    "too many ciphertexts": (put(C, b"x", 10**9), "takes 1 to 1024 ciphertexts"),
    "bytes that are nothing": (put(C, bytes(99)), "altered"),
    "floats": (unchecked(Put, handle=C, num_ciphertexts=2, ciphertexts=torch.zeros(9)), "where bytes were due"),
    "a mark that is nothing": (AddMark(handle=A, into=C, mark=as_tensor(bytes(99))), "altered"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_cloud_refuses_what_does_not_fit(half, tmp_path, name):
    request, sentence = REFUSED[name]
    before = sorted((tmp_path / "store").rglob("*"))
    with pytest.raises(SfumatoError, match=sentence):
        half.handle(request)
    assert sorted((tmp_path / "store").rglob("*")) == before


def test_a_second_multiplication_is_refused(half):
    half.handle(blend())
    for request in (blend(first=C, into=OTHER), mix(second=C, into=OTHER)):
        with pytest.raises(WireError, match="cannot be multiplied again"):
            half.handle(request)


def test_ciphertexts_of_other_parameters_number_or_level_are_refused(half, key):
    sealed = SecretKey(parameters_named("sealed")).encrypt(ONES)
    multiplied = Ciphertexts.from_bytes(key.encrypt(ONES), PARAMETERS, num_ciphertexts=2).multiply(0.5).to_bytes()
    for content, num in ((sealed, 2), (key.encrypt(ONES), 1), (multiplied, 2)):
        with pytest.raises(WireError):
            half.handle(put(C, content, num))
    with pytest.raises(WireError, match="a number of ciphertexts of 1"):
        half.handle(AddMark(handle=A, into=C, mark=as_tensor(key.encrypt(ONES[:9]))))


def test_a_mark_that_cancels_the_latent_is_refused(half, contents):
    held = Ciphertexts.from_bytes(contents[A], PARAMETERS, num_ciphertexts=2)
    negated = Ciphertexts(parameters=PARAMETERS, level=0, parts=tuple(held._made("negate", p) for p in held.parts))
    with pytest.raises(WireError, match="a mark cancels the latent"):
        half.handle(AddMark(handle=A, into=C, mark=as_tensor(negated.to_bytes())))


def test_nothing_is_served_before_a_vault_is_opened(tmp_path, contents):
    half = VaultWorker(Vault(), VaultStore(tmp_path / "store"))
    with pytest.raises(WireError, match="a Put came before a vault was opened"):
        half.handle(put(A, contents[A]))
    with pytest.raises(WireError, match="a handle is 32 hexadecimal digits"):
        half.handle(OpenVault(vault="x"))


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-1], lambda c: c[:500] + b"x" + c[501:], lambda c: b"", lambda c: c + c]
)
def test_what_was_damaged_on_disk_is_not_used(half, tmp_path, damage):
    (file,) = (tmp_path / "store").rglob(f"{A}.ckks")
    file.write_bytes(damage(file.read_bytes()))
    for request in (Get(handle=A), mix(), blend()):
        with pytest.raises(StorageError, match="a latent was damaged on its disk: drop it, and put it again"):
            half.handle(request)
    assert half.handle(Drop(handle=A)).was_held


# Quota


def test_a_vault_has_room_for_so_many_latents_and_bytes(tmp_path, contents):
    few = opened(tmp_path / "few", StoreLimits(max_latents=1))
    few.handle(put(A, contents[A]))
    with pytest.raises(WorkerError, match="a vault has room for 1 latents here: drop some first"):
        few.handle(put(B, contents[B]))
    few.handle(Drop(handle=A))
    few.handle(put(B, contents[B]))
    size = len(contents[A]) + len(contents[B])
    small = opened(tmp_path / "small", StoreLimits(max_bytes=size))
    small.handle(put(A, contents[A]))
    small.handle(put(B, contents[B]))
    for request in (put(D, contents[D], 1), blend()):
        with pytest.raises(WorkerError, match=f"room for {size} bytes here, and {size} of them are taken"):
            small.handle(request)


def test_a_cloud_has_room_for_so_many_vaults(tmp_path, contents):
    limits = StoreLimits(max_vaults=1)
    (tmp_path / "something else").mkdir()
    opened(tmp_path, limits).handle(put(A, contents[A]))
    with pytest.raises(WorkerError, match="it keeps 1 vaults and no more: use another cloud"):
        opened(tmp_path, limits, OTHER).handle(put(A, contents[A]))
    opened(tmp_path, limits).handle(put(B, contents[B]))


def test_a_full_disk_leaves_nothing(tmp_path, contents, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(WorkerError, match="its disk takes no more latents"):
        opened(tmp_path).handle(put(A, contents[A]))
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_wrong_limits_and_folders():
    with pytest.raises(ValueError, match="max_vaults, max_latents and max_bytes must be positive"):
        StoreLimits(max_bytes=0)


def test_a_store_needs_a_folder_to_be_in(tmp_path):
    with pytest.raises(ValueError, match="does not exist; make it first"):
        VaultStore(tmp_path / "no/store")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="cannot write"):
        VaultStore(tmp_path / "file/store")


# The handshake


def hello(**changes):
    values = {"package_version": VERSION, "protocol": "vault", "spec_json": Vault().to_json(), "model_fingerprint": ""}
    return Hello(**values | {"cloud_index": 0, "num_clouds": 1} | changes)


def test_a_vault_needs_no_model_and_a_model_no_vault(tmp_path):
    assert isinstance(CloudSession(None, vaults=VaultStore(tmp_path)).handle(hello()), Welcome)
    refused = CloudSession(None).handle(hello())
    assert isinstance(refused, Refusal)
    assert refused.error == "Unsupported"
    assert refused.sentence == "it keeps no vault: its operator starts it with 'sfumato serve --vault DIR'"
    with pytest.raises(Unsupported, match="it keeps no vault"):
        service_half(Vault(), None)
    spec = find_spec("plain")()
    refused = CloudSession(None, vaults=VaultStore(tmp_path)).handle(hello(protocol="plain", spec_json=spec.to_json()))
    assert isinstance(refused, Refusal)
    assert refused.sentence == "it serves no model, and only keeps vaults: use another cloud"


def test_a_vault_is_served_and_makes_no_pictures():
    assert not set(SPECS) & set(SERVICES)
    assert find_served("vault") is Vault
    assert find_served("plain") is SPECS["plain"]
    with pytest.raises(ValueError, match="vault makes no pictures: see 'sfumato vault --help'"):
        find_spec("vault")


def test_the_spec_says_what_it_hides_and_every_message_what_it_reveals():
    spec = Vault()
    assert Vault.from_json(spec.to_json()) == spec
    assert spec.claim.endswith(".")
    assert all(sentence.endswith(".") for sentence in spec.not_hidden)
    assert spec.seen_by(0)
    kinds = [k for k in vars(messages).values() if isinstance(k, type) and issubclass(k, Message) and k is not Message]
    assert len(kinds) == 10
    assert all("Reveals:" in kind.__doc__ for kind in kinds)
    assert OWN not in repr(OpenVault(vault=OWN))
    with pytest.raises(ValueError, match="num_clouds must be 1, got 2"):
        Vault(num_clouds=2)
