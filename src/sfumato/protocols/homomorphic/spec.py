"""All that is public about ``homomorphic``: its settings and its messages.

Source: Chen and Yan 2024, "Privacy-Preserving Diffusion Model Using Homomorphic Encryption", arXiv 2403.05794. Sealed
mode is ours: it encrypts everything and runs no U-Net at the cloud.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import UInt8
from torch import Tensor

from sfumato.protocols.base import Spec, setting
from sfumato.wire.messages import Message

Serialised = UInt8[Tensor, " byte"]
"""A packed vector of ciphertexts, as ``crypto`` writes it."""


@dataclass(frozen=True, kw_only=True)
class Homomorphic(Spec):
    """One cloud holds the latents encrypted, and adds each step's change to them; the U-Net runs on the client."""

    name: ClassVar[str] = "homomorphic"

    mode: Literal["sealed"] = setting("sealed", "sealed: everything that is sent is encrypted; the only one so far")
    denoiser: Literal["client"] = setting("client", "who runs the U-Net; the only one so far")
    parameters: Literal["sealed", "compact"] = setting(
        "sealed", "CKKS parameters, 128 bits secure both: compact has more and smaller ciphertexts, and larger errors"
    )

    def problems(self) -> list[str]:
        """One cloud, and parameters of the list."""
        found = super().problems()
        if not found and self.num_clouds > 1:
            found.append(f"num_clouds must be 1, got {self.num_clouds}: one cloud holds the ciphertexts")
        return found

    @property
    def claim(self) -> str:
        """Everything, and no work is saved."""
        return (
            "The cloud receives the latents of every step as ciphertexts alone (CKKS, 128 bits), and no prompt, noise, "
            "prediction or decrypted value; nothing is offloaded: the U-Net runs on this device, and encryption is "
            "more work than the update that the cloud makes."
        )

    def seen_by(self, cloud_index: int) -> str:  # noqa: ARG002
        """Ciphertexts."""
        return "ciphertexts of the latents, their number"

    @property
    def not_hidden(self) -> tuple[str, ...]:
        """Sizes, numbers, times; and what a cloud can still do."""
        return (
            "The cloud sees the model, how many ciphertexts hold a latent, the number of steps and the timing.",
            "A cloud can change what its ciphertexts decrypt to; this device finds it out at the end and does not say "
            "so, but a run that is repeated, or broken off, can be seen.",
        )


@dataclass(frozen=True, kw_only=True)
class EncryptedStart(Message):
    """Client to cloud, once a run: the first noise in sigma coordinates, encrypted.

    Reveals: how many ciphertexts hold all pictures of the run, which follows from their sizes, and the timing.
    """

    topic: ClassVar[str] = "ciphertexts"

    num_ciphertexts: int
    ciphertexts: Serialised


@dataclass(frozen=True, kw_only=True)
class EncryptedChange(Message):
    """Client to cloud, once a step: what the step adds to the latents in sigma coordinates, encrypted.

    Reveals: the step's number and timing.
    """

    topic: ClassVar[str] = "ciphertexts"

    step: int
    ciphertexts: Serialised


@dataclass(frozen=True, kw_only=True)
class Added(Message):
    """Cloud to client: the start is held, or the change was added.

    Reveals: to the client, timing only.
    """

    topic: ClassVar[str] = "ciphertexts"


@dataclass(frozen=True, kw_only=True)
class Fetch(Message):
    """Client to cloud, once a run and the last message of it: give the accumulator back.

    Reveals: that the run has come to its end; nothing is sent after it, whatever the accumulator decrypts to.
    """

    topic: ClassVar[str] = "ciphertexts"


@dataclass(frozen=True, kw_only=True)
class Accumulator(Message):
    """Cloud to client: the encrypted latents after the last step, in sigma coordinates.

    Reveals: to the client, what it has itself, unless the cloud computed something else.
    """

    topic: ClassVar[str] = "ciphertexts"

    ciphertexts: Serialised
