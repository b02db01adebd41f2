"""A vault as its client knows it: a folder with the key, and an index of what the cloud keeps.

::

    VAULT/key          the secret key, see crypto/key_file.py
    VAULT/index.json   the vault's 128 bits, and of each name: handle, shape, model, level
    VAULT/lock         held while a command changes the vault
    VAULT/cloud/       what a local cloud keeps; nothing that needs hiding

Names stay here. So does the key, and whoever loses it loses what was stored.
"""

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from sfumato.crypto.key_file import read_key, write_key
from sfumato.crypto.parameters import CkksParameters, parameters_named
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import SfumatoError, StorageError
from sfumato.files import check_writable, write_whole
from sfumato.protocols.vault.spec import Vault, require_handle
from sfumato.randomness import unguessable_name

_VERSION = 1
_NAME = re.compile(r"[\w][\w.-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class StoredLatent:
    """What a client knows of one latent that a cloud keeps."""

    handle: str
    shape: tuple[int, int, int]
    """Channels, height, width."""
    model: str
    """That finds the model again."""
    fingerprint: str
    """Of the model's autoencoder."""
    level: int
    """Multiplications behind it."""
    num_terms: float
    """Fresh errors in it, see :meth:`~sfumato.crypto.parameters.CkksParameters.error_rms`."""
    bound: float
    """That no value's magnitude exceeds."""


class VaultFolder:
    """One folder, read when it is opened."""

    def __init__(self, path: Path, vault: str, key_digest: str, latents: dict[str, StoredLatent]):
        self.path = path
        self.vault = vault
        self.parameters: CkksParameters = parameters_named(Vault().parameters)
        self._key_digest = key_digest
        self._latents = latents

    @classmethod
    def make(cls, path: Path) -> Self:
        """Makes a new vault with a fresh key; either all of it is there afterwards or nothing.

        Raises:
            ValueError: there is something else already, or the place cannot be written.
            Unsupported: TenSEAL is not installed.
        """
        path = path.absolute()
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ValueError(f"{path} is no vault and not empty: name a new folder")
        check_writable(path / "x" if path.is_dir() else path)
        key = SecretKey(parameters_named(Vault().parameters))
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            made = cls(draft, unguessable_name(), write_key(draft / "key", key), {})
            made._write()
            draft.rename(path)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        made.path = path
        return made

    @classmethod
    def is_at(cls, path: Path) -> bool:
        """Whether a vault is there, sound or not."""
        return (path / "index.json").exists() or (path / "key").exists()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Reads the index.

        Raises:
            StorageError: there is none, or it is damaged.
        """
        try:
            content = json.loads((path / "index.json").read_text())
        except FileNotFoundError:
            raise StorageError(f"{path} holds no vault: 'sfumato vault put' makes one") from None
        except (OSError, ValueError) as error:
            raise _damaged(path) from error
        try:
            if content["version"] != _VERSION or content["parameters"] != Vault().parameters:
                raise StorageError(f"{path} was made by another version of sfumato: install that one")
            latents = {_checked_name(name): _latent(values) for name, values in content["latents"].items()}
            return cls(path, require_handle(content["vault"]), str(content["key"]), latents)
        except StorageError:
            raise
        except (SfumatoError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path) from error

    @property
    def latents(self) -> Mapping[str, StoredLatent]:
        """What is kept, by name."""
        return self._latents

    def key(self) -> SecretKey:
        """Reads the secret key.

        Raises:
            StorageError: missing, readable by others, damaged, or not this vault's.
            Unsupported: TenSEAL is not installed.
        """
        return read_key(self.path / "key", self.parameters, self._key_digest)

    def find(self, name: str) -> StoredLatent:
        """What is kept under a name.

        Raises:
            ValueError: nothing is; says what is.
        """
        if name not in self._latents:
            known = ", ".join(sorted(self._latents)) or "nothing"
            raise ValueError(f"{self.path} keeps no {name!r}: it keeps {known}")
        return self._latents[name]

    def require_free(self, name: str) -> None:
        """Refuses a name under which something is kept, or that is none.

        Raises:
            ValueError: it is taken, or has other characters than letters, digits, '.', '_' and '-'.
        """
        if _checked_name(name) in self._latents:
            raise ValueError(f"{self.path} keeps a {name!r} already: drop it first, or take another name")

    def add(self, name: str, latent: StoredLatent) -> None:
        """Writes down what a cloud has said that it keeps."""
        self._latents = {**self._latents, name: latent}
        self._write()

    def remove(self, name: str) -> None:
        """Forgets a name."""
        self._latents = {n: latent for n, latent in self._latents.items() if n != name}
        self._write()

    def _write(self) -> None:
        index = {
            "version": _VERSION,
            "vault": self.vault,
            "parameters": self.parameters.name,
            "key": self._key_digest,
            "latents": {name: asdict(latent) for name, latent in self._latents.items()},
        }
        text = json.dumps(index, indent=1) + "\n"
        write_whole(self.path / "index.json", lambda stream: stream.write(text.encode()), private=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other commands off a vault.

    Raises:
        StorageError: another command is at it.
    """
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"another command is changing {path}: wait until it has ended") from None
        yield
    finally:
        os.close(descriptor)


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            "a name has 1 to 100 letters, digits, '.', '_' and '-', and begins with a letter or digit: choose another"
        )
    return name


def _latent(values: Any) -> StoredLatent:
    latent = StoredLatent(**values)
    require_handle(latent.handle)
    channels, height, width = latent.shape
    if min(channels, height, width, latent.level + 1, latent.num_terms, latent.bound + 1) <= 0:
        raise ValueError("a number is not positive")
    return replace(latent, shape=(channels, height, width))


def _damaged(path: Path) -> StorageError:
    return StorageError(f"{path / 'index.json'} is damaged: restore it from a copy of yours")
