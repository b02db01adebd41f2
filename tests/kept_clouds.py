"""A cloud in this process that keeps vaults on disk, and all that it was sent and sent back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sfumato.client.vault import LatentVault
from sfumato.client.vault_folder import VaultFolder
from sfumato.protocols.vault.store import StoreLimits, VaultStore
from sfumato.transport.base import Channel
from sfumato.transport.in_process import InProcessChannel
from sfumato.wire.codec import encode
from sfumato.wire.messages import Message
from sfumato.worker.sessions import CloudSession


class KeptClouds:
    """One cloud; what it keeps outlives its sessions, and it."""

    def __init__(self, folder: Path, limits: StoreLimits | None = None):
        self.folder = folder
        self.limits = limits
        self.seen: list[Message] = []
        self.replies: list[Message] = []

    @contextmanager
    def open_channel(self) -> Iterator[Channel]:
        session = CloudSession(None, vaults=VaultStore(self.folder, self.limits))

        def handle(request: Message) -> Message:
            self.seen.append(request)
            self.replies.append(session.handle(request))
            return self.replies[-1]

        with InProcessChannel([handle]) as channel:
            yield channel

    def close(self) -> None:
        pass

    @property
    def kinds(self) -> list[str]:
        return [type(message).__name__ for message in self.seen]

    @property
    def bytes_seen(self) -> bytes:
        return b"".join(bytes(piece) for message in self.seen for piece in _pieces(message))

    @property
    def bytes_kept(self) -> bytes:
        return b"".join(file.read_bytes() for file in sorted(self.folder.rglob("*")) if file.is_file())


def _pieces(message: Message) -> list[bytes]:
    header, buffers = encode(message)
    return [header, *map(bytes, buffers)]


def vault_at(folder: Path, clouds: KeptClouds) -> LatentVault:
    """Opens or makes a vault."""
    return LatentVault(VaultFolder.open(folder) if VaultFolder.is_at(folder) else VaultFolder.make(folder), clouds)
