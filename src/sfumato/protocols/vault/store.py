"""Where a cloud keeps ciphertexts: one folder a vault, one file a latent, each whole or absent.

::

    DIR/<hash of the vault's 128 bits>/<handle>.ckks

The hash keeps a listing of the folder, or a copy of it, from opening vaults. Nothing here can be decrypted here.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from sfumato.errors import StorageError, WorkerError
from sfumato.files import check_writable, write_whole
from sfumato.protocols.vault.spec import require_handle

_SUFFIX = ".ckks"
_VAULT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class StoreLimits:
    """What a cloud keeps at most. Vaults cost a client nothing to make, so all three count."""

    max_vaults: int = 16
    max_latents: int = 1000
    """Of each vault."""
    max_bytes: int = 1 << 30
    """Of each vault."""

    def __post_init__(self) -> None:
        if min(self.max_vaults, self.max_latents, self.max_bytes) < 1:
            raise ValueError("max_vaults, max_latents and max_bytes must be positive")


class VaultStore:
    """All vaults of one cloud, on its disk.

    Run by: worker.
    """

    def __init__(self, directory: Path, limits: StoreLimits | None = None):
        """Opens the folder, and makes it where there is none; a file that a crash left half-written is removed.

        Raises:
            ValueError: it cannot be made or written.
        """
        self.limits = limits or StoreLimits()
        self._directory = Path(directory)
        self._lock = Lock()
        if not self._directory.is_dir():
            check_writable(self._directory)
            self._directory.mkdir(mode=0o700)
        check_writable(self._directory / "vault")
        for vault in _vaults_in(self._directory):
            for partial in vault.glob(f".*{_SUFFIX}.*.partial"):
                partial.unlink()

    def vault(self, vault: str) -> "StoredVault":
        """The part of one client.

        Raises:
            WireError: not 128 bits in hexadecimal.
        """
        name = hashlib.sha256(b"sfumato vault " + require_handle(vault).encode()).hexdigest()
        return StoredVault(self._directory / name, self.limits, self._lock)


class StoredVault:
    """The latents of one client.

    Run by: worker.
    """

    def __init__(self, folder: Path, limits: StoreLimits, lock: Lock):
        self._folder = folder
        self._limits = limits
        self._lock = lock

    def write(self, handle: str, content: bytes) -> None:
        """Keeps a latent.

        Raises:
            WireError: the handle is none.
            WorkerError: there is one of this handle, the vault is full, or the disk is.
        """
        file = self._file(handle)
        with self._lock:
            if file.exists():
                raise WorkerError("it keeps a latent of this handle already: use a new one")
            self._require_room(len(content))
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                write_whole(file, lambda stream: stream.write(content), private=True)
            except OSError as error:
                raise WorkerError("its disk takes no more latents: ask its operator, or use another cloud") from error

    def _require_room(self, num_bytes: int) -> None:
        sizes = [file.stat().st_size for file in self._folder.glob(f"*{_SUFFIX}")]
        if not self._folder.is_dir() and len(_vaults_in(self._folder.parent)) >= self._limits.max_vaults:
            raise WorkerError(f"it keeps {self._limits.max_vaults} vaults and no more: use another cloud")
        if len(sizes) >= self._limits.max_latents:
            raise WorkerError(f"a vault has room for {self._limits.max_latents} latents here: drop some first")
        if sum(sizes) + num_bytes > self._limits.max_bytes:
            raise WorkerError(
                f"a vault has room for {self._limits.max_bytes} bytes here, and {sum(sizes)} of them are taken: drop "
                "some latents first"
            )

    def read(self, handle: str) -> bytes:
        """What was written.

        Raises:
            WireError: the handle is none.
            StorageError: there is no latent of this handle.
        """
        try:
            return self._file(handle).read_bytes()
        except OSError as error:
            raise StorageError("it keeps no such latent: it was dropped, or was put at another cloud") from error

    def drop(self, handle: str) -> bool:
        """Forgets a latent, and the vault with its last; says whether there was one.

        Raises:
            WireError: the handle is none.
        """
        file = self._file(handle)
        with self._lock:
            was_held = file.exists()
            file.unlink(missing_ok=True)
            if was_held and not any(self._folder.iterdir()):
                self._folder.rmdir()
        return was_held

    def _file(self, handle: str) -> Path:
        return self._folder / (require_handle(handle) + _SUFFIX)


def _vaults_in(directory: Path) -> list[Path]:
    """The folders of vaults; whatever else is there is not ours."""
    return [folder for folder in directory.iterdir() if _VAULT.fullmatch(folder.name) and folder.is_dir()]
