"""What client and cloud say to each other in ``homomorphic``.

``EncryptedStart`` to ``Accumulator`` are of sealed mode, ``HybridLatent`` and ``HybridUpdated`` of mode=paper.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int32
from torch import Tensor

from sfumato.protocols.serialised import Serialised
from sfumato.tensors import Latent
from sfumato.wire.messages import Message


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


@dataclass(frozen=True, kw_only=True)
class HybridLatent(Message):
    """Client to cloud, each step of mode=paper: a latent of which some entries are encrypted, and its update.

    The update is ``factor * x`` plus the coefficients times as many of the last predictions, the newest last.

    Reveals: which entries are encrypted and all others; the step of the scheduler. With ``denoiser=client`` the
    prediction, at the encrypted entries too; with ``denoiser=cloud`` the whole latent as the U-Net reads it.
    """

    topic: ClassVar[str] = "ciphertexts"

    step: int
    shape: tuple[int, ...]
    positions: Int32[Tensor, " hidden"]
    """Sorted places of the encrypted entries in the latent's memory."""
    ciphertexts: Serialised
    remainder: Float[Tensor, " public"]
    """The other entries, in order."""
    factor: float
    coefficients: tuple[float, ...]
    prediction: Latent | None
    """After guidance; where the client denoises."""
    unet_input: Latent | None
    """Scaled; where the cloud denoises."""
    timestep: float
    guidance_scale: float


@dataclass(frozen=True, kw_only=True)
class HybridUpdated(Message):
    """Cloud to client: the latent after the step, encrypted at the same entries.

    Reveals: to the client, its next latent.
    """

    topic: ClassVar[str] = "ciphertexts"

    ciphertexts: Serialised
    remainder: Float[Tensor, " public"]
