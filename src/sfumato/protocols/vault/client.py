"""The client's side of ``vault``: what is asked of the cloud. It takes and gives ciphertexts, and has no key either."""

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.protocols.serialised import as_tensor, content_of
from sfumato.protocols.vault.spec import (
    AddMark,
    Blend,
    Drop,
    Dropped,
    Get,
    Held,
    Interpolate,
    Kept,
    OpenVault,
    Put,
)
from sfumato.transport.base import Channel


class VaultClient:
    """One session on one vault, after the handshake.

    Run by: client.
    Reveals: see :class:`~sfumato.protocols.vault.spec.Vault`.
    """

    def __init__(self, channel: Channel, vault: str):
        """Opens the vault.

        Args:
            channel: with one cloud, in a session that nothing was sent in yet.
            vault: the 128 random bits that stand for it.
        """
        self._channel = channel
        channel.exchange([OpenVault(vault=vault)], Kept)

    def put(self, handle: str, ciphertexts: bytes, num_ciphertexts: int) -> None:
        """Has a latent kept, under a handle that was drawn for it."""
        put = Put(handle=handle, num_ciphertexts=num_ciphertexts, ciphertexts=as_tensor(ciphertexts))
        self._channel.exchange([put], Kept)

    def blend(self, first: str, second: str, into: str, mask: Float[Tensor, "height width"], channels: int) -> None:
        """Has ``mask * first + (1 - mask) * second`` kept; the mask, in [0, 1], is sent in the clear."""
        cells = mask.to(torch.float32).flatten()
        blend = Blend(first=first, second=second, into=into, mask=cells, channels=channels)
        self._channel.exchange([blend], Kept)

    def interpolate(self, first: str, second: str, into: str, weight: float) -> None:
        """Has ``weight * first + (1 - weight) * second`` kept; the weight, in [0, 1], is sent in the clear."""
        self._channel.exchange([Interpolate(first=first, second=second, into=into, weight=weight)], Kept)

    def add_mark(self, handle: str, into: str, mark: bytes) -> None:
        """Has a latent plus an encrypted mark kept."""
        self._channel.exchange([AddMark(handle=handle, into=into, mark=as_tensor(mark))], Kept)

    def get(self, handle: str) -> bytes:
        """Fetches a latent's ciphertexts, and ends the session before anybody looks at them."""
        (held,) = self._channel.exchange([Get(handle=handle)], Held)
        self._channel.close()
        return content_of(held.ciphertexts)

    def drop(self, handle: str) -> bool:
        """Has a latent forgotten; says whether there was one."""
        (dropped,) = self._channel.exchange([Drop(handle=handle)], Dropped)
        return dropped.was_held
