"""Ways in which a cloud can make one scheduler's update of a latent: in the clear, and on ciphertexts.

Each is four pieces of work, so that whoever times them knows whose time it is: the client's choice and encryption, the
cloud's work, the client's decryption. Only :class:`Released` and :class:`OneValueEach` are not how this package runs:
they are what it is compared with.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.parameters import parameters_named
from sfumato.crypto.secret_key import SecretKey
from sfumato.protocols.homomorphic.encrypting import decrypt_and_merge, encrypt_entries
from sfumato.protocols.homomorphic.hybrid import received
from sfumato.protocols.homomorphic.selection import Selection
from sfumato.tensors import Latent

FACTOR = 1.0135
"""Of a late DDIM step."""


class UpdateLayout(ABC):
    """One way; what it sends and returns is bytes and tensors, counted by :meth:`sent_bytes` and the like."""

    name: str
    is_scaled: int = 1
    """How many times the work that is done here the whole latent takes."""
    num_ciphertexts: int = 0
    encrypted_fraction: float = 1.0

    def __init__(self, latent: Latent, addend: Latent):
        self.latent = latent
        self.addend = addend

    def choose(self) -> None:
        """The client's choice of what to encrypt, where it has one."""
        return

    @abstractmethod
    def send(self) -> Any:
        """The client's work before: all that the cloud is sent but the addend."""

    @abstractmethod
    def update(self, sent: Any) -> Any:
        """The cloud's work, from bytes to bytes."""

    @abstractmethod
    def receive(self, returned: Any) -> Float[Tensor, "..."]:
        """The client's work after."""

    def expected(self) -> Float[Tensor, "..."]:
        """What it receives, computed in the clear in fp64."""
        return FACTOR * self.latent.double() + self.addend.double()


def num_bytes(content: Any) -> int:
    """Of all bytes and tensors in a tuple or list."""
    if isinstance(content, bytes):
        return len(content)
    if isinstance(content, Tensor):
        return content.numel() * content.element_size()
    return sum(map(num_bytes, content))


class InTheClear(UpdateLayout):
    """The client computes it; nothing is sent."""

    name = "in the clear, on the client"
    encrypted_fraction = 0.0

    def send(self) -> Any:
        """Nothing."""
        return b""

    def update(self, sent: Any) -> Any:  # noqa: ARG002
        """One fused multiply-add, in fp32."""
        return torch.add(self.addend, self.latent, alpha=FACTOR)

    def receive(self, returned: Any) -> Float[Tensor, "..."]:
        """As it is."""
        return returned


class Hybrid(UpdateLayout):
    """``mode=paper``: the entries that a selection chooses are packed, the others stand beside them."""

    def __init__(self, latent: Latent, addend: Latent, *, name: str, parameters: str, selection: Selection):
        super().__init__(latent, addend)
        self.name = name
        self._key = SecretKey(parameters_named(parameters))
        self._select = selection

    def choose(self) -> None:
        """By the latent's values."""
        self._hidden = self._select(self.latent)
        self.encrypted_fraction = self._hidden.fraction
        self.num_ciphertexts = self._key.parameters.num_ciphertexts(len(self._hidden))

    def send(self) -> Any:
        """Encrypts, serialises."""
        content, rest = encrypt_entries(self._key, self.latent, self._hidden)
        return content, self._hidden.positions.int(), rest

    def update(self, sent: Any) -> Any:
        """Reads, multiplies and adds, serialises."""
        content, _, rest = sent
        made = received(content, rest, self._hidden, self._key.parameters).updated(FACTOR, self.addend)
        return made.ciphertexts.to_bytes(), made.remainder

    def receive(self, returned: Any) -> Float[Tensor, "..."]:
        """Reads, decrypts, merges."""
        content, rest = returned
        made = Ciphertexts.from_bytes(content, self._key.parameters, num_ciphertexts=self.num_ciphertexts, level=1)
        return decrypt_and_merge(self._key, made, rest, self._hidden)


class Sealed(UpdateLayout):
    """Sealed mode: the change is encrypted and added; what is held comes back once a run, not each step."""

    name = "sealed (this package)"

    def __init__(self, latent: Latent, addend: Latent):
        super().__init__(latent, addend)
        self._key = SecretKey(parameters_named("sealed"))
        values = latent.double().flatten()
        self.num_ciphertexts = self._key.parameters.num_ciphertexts(len(values))
        self._held = self._read(self._key.encrypt(values))

    def _read(self, content: bytes) -> Ciphertexts:
        return Ciphertexts.from_bytes(content, self._key.parameters, num_ciphertexts=self.num_ciphertexts)

    def send(self) -> Any:
        """Encrypts the change and serialises it."""
        return self._key.encrypt((self.expected() - self.latent.double()).flatten())

    def update(self, sent: Any) -> Any:
        """Reads and adds; nothing is returned."""
        self._sum = self._held.add(self._read(sent))
        return b""

    def receive(self, returned: Any) -> Float[Tensor, "..."]:  # noqa: ARG002
        """Nothing: the client has its own latents. (Decrypted here to check the sum; not timed.)"""
        return self.latent

    def checked(self) -> Float[Tensor, "..."]:
        """What the cloud holds now."""
        return self._key.decrypt(self._sum, self.latent.numel()).reshape(self.latent.shape)


class OneValueEach(UpdateLayout):
    """A ciphertext for every value, of a sample of the latent: what packing is compared with."""

    name = "one value a ciphertext, whole"

    def __init__(self, latent: Latent, addend: Latent, *, sample: int):
        super().__init__(latent, addend)
        self.is_scaled = latent.numel() // sample
        self.num_ciphertexts = latent.numel()
        self._key = SecretKey(parameters_named("one-level"))
        self._values = latent.double().flatten()[:sample]
        self._addends = addend.double().flatten()[:sample]

    def send(self) -> Any:
        """Encrypts value by value."""
        return [self._key.encrypt(value[None]) for value in self._values]

    def update(self, sent: Any) -> Any:
        """Reads, multiplies and adds, serialises."""
        held = [Ciphertexts.from_bytes(c, self._key.parameters, num_ciphertexts=1) for c in sent]
        return [c.multiply(FACTOR).add_plain(a[None]).to_bytes() for c, a in zip(held, self._addends, strict=True)]

    def receive(self, returned: Any) -> Float[Tensor, "..."]:
        """Reads and decrypts."""
        parameters = self._key.parameters
        made = [Ciphertexts.from_bytes(c, parameters, num_ciphertexts=1, level=1) for c in returned]
        return torch.cat([self._key.decrypt(c, 1) for c in made])

    def expected(self) -> Float[Tensor, "..."]:
        """Of the sample."""
        return FACTOR * self._values + self._addends


class Released(UpdateLayout):
    """As the authors released it: public-key encryption by TenSEAL's own vectors, with keys for rotation."""

    name = "released code's form, whole"

    def __init__(self, latent: Latent, addend: Latent):
        super().__init__(latent, addend)
        import tenseal

        self._tenseal = tenseal
        chosen = parameters_named("he-diffusion")
        self._slots = chosen.num_slots
        self._context = tenseal.context(
            tenseal.SCHEME_TYPE.CKKS, chosen.ring_degree, coeff_mod_bit_sizes=list(chosen.modulus_bits)
        )
        self._context.global_scale = chosen.scale
        self._context.generate_galois_keys()
        self._public = tenseal.context_from(self._context.serialize(save_secret_key=False))
        self.num_ciphertexts = chosen.num_ciphertexts(latent.numel())

    def _chunks(self, values: Latent) -> Sequence[list[float]]:
        return [chunk.tolist() for chunk in values.double().flatten().split(self._slots)]

    def send(self) -> Any:
        """Encrypts with the public key, serialises."""
        return [self._tenseal.ckks_vector(self._context, chunk).serialize() for chunk in self._chunks(self.latent)]

    def update(self, sent: Any) -> Any:
        """Reads, multiplies and adds, serialises."""
        held = [self._tenseal.ckks_vector_from(self._public, content) for content in sent]
        return [
            (vector * FACTOR + chunk).serialize() for vector, chunk in zip(held, self._chunks(self.addend), strict=True)
        ]

    def receive(self, returned: Any) -> Float[Tensor, "..."]:
        """Reads and decrypts."""
        values = [self._tenseal.ckks_vector_from(self._context, content).decrypt() for content in returned]
        return torch.tensor([v for chunk in values for v in chunk], dtype=torch.float64).reshape(self.latent.shape)
