"""A secret key in a file: the same key, or one sentence."""

import os
import shutil

import pytest
import torch

from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.key_file import read_key, write_key
from sfumato.crypto.key_search import holds_secret_key
from sfumato.crypto.parameters import parameters_named
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import StorageError

pytest.importorskip("tenseal")

COMPACT = parameters_named("compact")
ONES = torch.ones(9, dtype=torch.float64)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "key"
    key = SecretKey(COMPACT)
    return path, key, write_key(path, key)


@pytest.fixture
def copied(written, tmp_path):
    path, _, digest = written
    return shutil.copy2(path, tmp_path / "key"), digest


def test_what_was_encrypted_before_can_be_read_after(written):
    path, key, digest = written
    again = read_key(path, COMPACT, digest)
    for one, other in ((key, again), (again, key)):
        sent = Ciphertexts.from_bytes(one.encrypt(ONES), COMPACT, num_ciphertexts=1)
        assert torch.allclose(other.decrypt(sent, 9), ONES, rtol=0, atol=1e-7)


def test_only_its_owner_can_read_it_and_nothing_else_is_left(written):
    path, key, digest = written
    assert path.stat().st_mode & 0o777 == 0o600
    assert [f.name for f in path.parent.iterdir()] == ["key"]
    assert holds_secret_key(path.read_bytes(), COMPACT)
    assert not holds_secret_key(digest.encode() + bytes.fromhex(digest), COMPACT, key)
    with pytest.raises(StorageError, match="keys are never overwritten"):
        write_key(path, key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o601])
def test_a_key_that_others_can_read_or_change_is_refused(copied, mode):
    path, digest = copied
    os.chmod(path, mode)
    with pytest.raises(StorageError, match="can be read or changed by others: chmod 600"):
        read_key(path, COMPACT, digest)


@pytest.mark.parametrize("at", [0, 4, 9, 40, 60, 5000, -1])
def test_an_altered_key_is_refused(copied, at):
    path, digest = copied
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="is no key of this kind, or is damaged"):
        read_key(path, COMPACT, digest)


@pytest.mark.parametrize("size", [0, 10, 47, 48, 3000])
def test_a_truncated_key_is_refused(copied, size):
    path, digest = copied
    os.truncate(path, size)
    with pytest.raises(StorageError, match="damaged"):
        read_key(path, COMPACT, digest)


def test_another_key_parameter_set_or_no_file_is_refused(copied, tmp_path):
    path, digest = copied
    with pytest.raises(StorageError, match="is no key of this kind"):
        read_key(path, parameters_named("sealed"), digest)
    other = write_key(tmp_path / "other", SecretKey(COMPACT))
    assert other != digest
    with pytest.raises(StorageError, match="is the key of something else"):
        read_key(tmp_path / "other", COMPACT, digest)
    with pytest.raises(StorageError, match=r"cannot read .*nosuch \(No such file or directory\)"):
        read_key(tmp_path / "nosuch", COMPACT, digest)


def test_a_crash_while_writing_leaves_no_key(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_key(tmp_path / "key", SecretKey(COMPACT))
    assert not list(tmp_path.iterdir())
