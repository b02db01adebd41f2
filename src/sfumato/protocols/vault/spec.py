"""All that is public about ``vault``: its settings and its messages.

Source: ours. Why stored latents are what encryption without a key at the cloud is good for, and why nothing decrypted
goes back: Li and Micciancio, "On the security of homomorphic encryption on approximate numbers", EUROCRYPT 2021, IACR
2020/1533.
"""

import re
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from jaxtyping import Float32
from torch import Tensor

from sfumato.errors import WireError
from sfumato.protocols.base import Spec, setting
from sfumato.protocols.serialised import Serialised
from sfumato.wire.messages import Message

_HANDLE = re.compile(r"[0-9a-f]{32}")


def require_handle(handle: str) -> str:
    """Passes a handle on, which is 128 random bits in hexadecimal.

    Raises:
        WireError: it is something else; a handle becomes the name of a file.
    """
    if not _HANDLE.fullmatch(handle):
        raise WireError("a handle is 32 hexadecimal digits, and something else came")
    return handle


@dataclass(frozen=True, kw_only=True)
class Vault(Spec):
    """One cloud keeps latents as ciphertexts, and blends, interpolates and marks them without a key."""

    name: ClassVar[str] = "vault"
    uses_model: ClassVar[bool] = False

    parameters: Literal["vault"] = setting("vault", "CKKS parameters, 128 bits secure; the only ones so far")

    def problems(self) -> list[str]:
        """One cloud."""
        found = super().problems()
        if not found and self.num_clouds > 1:
            found.append(f"num_clouds must be 1, got {self.num_clouds}: one cloud keeps the ciphertexts")
        return found

    @property
    def claim(self) -> str:
        """What is stored, and what is not told."""
        return (
            "The cloud keeps latents as ciphertexts alone (CKKS, 128 bits), and receives no key, name, prompt, picture "
            "or decrypted value; it learns which ciphertexts are combined, and the masks and weights that are applied."
        )

    def seen_by(self, cloud_index: int) -> str:  # noqa: ARG002
        """Ciphertexts, and what is done with them."""
        return "ciphertexts of the latents, masks, weights"

    @property
    def not_hidden(self) -> tuple[str, ...]:
        """Sizes, times, what is combined with what; and what a cloud can still do."""
        return (
            "The cloud sees how many ciphertexts hold a latent, which latents of one vault are put, combined, fetched "
            "and dropped, and when.",
            "The mask of a blend and the weight of an interpolation are in the clear; the mark of a watermark is not.",
            "A cloud can change or exchange what its ciphertexts decrypt to; only a look at the picture finds it out.",
        )


@dataclass(frozen=True, kw_only=True)
class OpenVault(Message):
    """Client to cloud, first and once: whose latents the session is about.

    Whoever knows the vault's 128 random bits may use and drop what is in it, and cannot read it.

    Reveals: that all sessions which name this vault are one client's.
    """

    topic: ClassVar[str] = "vault"

    vault: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Put(Message):
    """Client to cloud: keep this latent.

    Reveals: how many ciphertexts hold it, and the timing. The handle is random, and says nothing of the latent's name.
    """

    topic: ClassVar[str] = "vault"

    handle: str
    num_ciphertexts: int
    ciphertexts: Serialised


@dataclass(frozen=True, kw_only=True)
class Blend(Message):
    """Client to cloud: keep ``mask * first + (1 - mask) * second`` under a new handle.

    Reveals: which two latents belong together, the mask in the clear, with it the number of cells of a latent, and its
    channels.
    """

    topic: ClassVar[str] = "vault"

    first: str
    second: str
    into: str
    mask: Float32[Tensor, " cell"]
    """In [0, 1], row by row."""
    channels: int
    """How often the mask repeats."""


@dataclass(frozen=True, kw_only=True)
class Interpolate(Message):
    """Client to cloud: keep ``weight * first + (1 - weight) * second`` under a new handle.

    Reveals: which two latents belong together, and the weight.
    """

    topic: ClassVar[str] = "vault"

    first: str
    second: str
    into: str
    weight: float
    """In [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class AddMark(Message):
    """Client to cloud: keep the latent plus an encrypted mark under a new handle.

    Reveals: which latent is marked; nothing of the mark.
    """

    topic: ClassVar[str] = "vault"

    handle: str
    into: str
    mark: Serialised


@dataclass(frozen=True, kw_only=True)
class Kept(Message):
    """Cloud to client: the vault is open, or the latent is kept.

    Reveals: to the client, timing only.
    """

    topic: ClassVar[str] = "vault"


@dataclass(frozen=True, kw_only=True)
class Get(Message):
    """Client to cloud: give a latent back; it stays.

    Reveals: which latent is wanted. Nothing is sent after it, whatever the latent decrypts to.
    """

    topic: ClassVar[str] = "vault"

    handle: str


@dataclass(frozen=True, kw_only=True)
class Held(Message):
    """Cloud to client: the latent's ciphertexts.

    Reveals: to the client, what it may decrypt.
    """

    topic: ClassVar[str] = "vault"

    ciphertexts: Serialised


@dataclass(frozen=True, kw_only=True)
class Drop(Message):
    """Client to cloud: forget a latent.

    Reveals: which latent is not wanted any more. That it is forgotten rests on the cloud's word.
    """

    topic: ClassVar[str] = "vault"

    handle: str


@dataclass(frozen=True, kw_only=True)
class Dropped(Message):
    """Cloud to client: the latent is forgotten.

    Reveals: to the client, whether there was one.
    """

    topic: ClassVar[str] = "vault"

    was_held: bool
