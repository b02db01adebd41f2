"""Latents that a cloud keeps encrypted, under a key that only this client has: store, combine, fetch.

What does not fit is refused before a cloud is contacted; the index changes when the cloud has answered.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

from jaxtyping import Float
from torch import Tensor

from sfumato.client.clouds import Clouds
from sfumato.client.sessions import open_session
from sfumato.client.vault_folder import StoredLatent, VaultFolder
from sfumato.crypto.ckks import Ciphertexts, Values, largest_magnitude
from sfumato.crypto.envelope import MOST_CIPHERTEXTS
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import WireError
from sfumato.models.folder import ModelFolder
from sfumato.protocols.vault.client import VaultClient
from sfumato.protocols.vault.spec import Vault
from sfumato.randomness import unguessable_name
from sfumato.tensors import Latent
from sfumato.transport.base import Channel

FLOOD_BITS = 40
"""Noise over the scheme's own error in whatever is fetched, as whoever sees a picture of it sees a decrypted value. It
is below 1e-6 in latent units. How far that goes: docs/design/0010-stored-ciphertexts.md."""


@dataclass(kw_only=True)
class Cost:
    """What one command spent, handshake included, start of local clouds and pictures not."""

    sent_bytes: int = 0
    received_bytes: int = 0
    milliseconds: float = 0.0
    """From the cloud's welcome to the end, encryption and decryption included."""


class LatentVault:
    """A vault and the cloud that keeps what is in it.

    Run by: client.
    Reveals: see :class:`~sfumato.protocols.vault.spec.Vault`.
    """

    def __init__(self, folder: VaultFolder, clouds: Clouds, clock: Callable[[], float] = perf_counter):
        """Contacts nobody.

        Args:
            folder: the vault's, which no other command is changing.
            clouds: the one that keeps the latents.
            clock: that costs are read from, in seconds.
        """
        self._folder = folder
        self._clouds = clouds
        self._clock = clock

    def put(self, name: str, latent: Latent, model: ModelFolder) -> Cost:
        """Encrypts a latent and stores it.

        Args:
            name: that it has from now on; it stays here.
            latent: of one picture.
            model: whose latent it is.

        Raises:
            ValueError: the name is taken, or the latent is not of one picture or too large.
            Unsupported: a value that the parameters cannot hold, or TenSEAL is not installed.
            StorageError: the key is missing or damaged.
            WorkerError: the cloud has no room.
        """
        self._folder.require_free(name)
        values, handle = _values(latent), unguessable_name()
        parameters = self._folder.parameters
        num = parameters.num_ciphertexts(len(values))
        if latent.shape[0] != 1 or not 1 <= num <= MOST_CIPHERTEXTS:
            raise ValueError(f"a latent of one picture is stored, of at most {MOST_CIPHERTEXTS} ciphertexts, not {num}")
        bound = largest_magnitude(values)
        parameters.require_headroom(bound, level=parameters.depth)
        _, channels, height, width = latent.shape
        stored = StoredLatent(
            handle=handle,
            shape=(channels, height, width),
            model=model.reference,
            fingerprint=model.vae_fingerprint,
            level=0,
            num_terms=1.0,
            bound=bound,
        )
        key = self._folder.key()
        with self._session() as (client, cost):
            client.put(handle, key.encrypt(values), num)
        self._folder.add(name, stored)
        return cost

    def blend(self, first: str, second: str, mask: Float[Tensor, "height width"], into: str) -> Cost:
        """Has the cloud compute ``mask * first + (1 - mask) * second``.

        Args:
            first, second, into: names.
            mask: in [0, 1], a value for each cell of the latents. The cloud sees it.

        Raises:
            ValueError: an unknown or a taken name, latents that do not go together or were multiplied before, or a
                mask of another shape or range.
            WorkerError: the cloud has no room, or does not keep the latents.
        """
        one, two, made = self._pair(first, second, into)
        if tuple(mask.shape) != one.shape[1:] or not bool(((mask >= 0) & (mask <= 1)).all()):
            raise ValueError(
                f"a mask has values from 0 to 1, and {one.shape[1]} x {one.shape[2]} of them for this latent"
            )
        with self._session() as (client, cost):
            client.blend(one.handle, two.handle, made.handle, mask, one.shape[0])
        self._folder.add(into, made)
        return cost

    def interpolate(self, first: str, second: str, weight: float, into: str) -> Cost:
        """Has the cloud compute ``weight * first + (1 - weight) * second``.

        Args:
            first, second, into: names.
            weight: in [0, 1]. The cloud sees it.

        Raises:
            ValueError, WorkerError: as :meth:`blend`.
        """
        if not 0 <= weight <= 1:
            raise ValueError(f"weight must be in [0, 1], got {weight:g}")
        one, two, made = self._pair(first, second, into)
        with self._session() as (client, cost):
            client.interpolate(one.handle, two.handle, made.handle, float(weight))
        self._folder.add(into, made)
        return cost

    def add_mark(self, name: str, mark: Float[Tensor, "channel height width"], into: str) -> Cost:
        """Has the cloud add an encrypted mark.

        Args:
            name, into: names.
            mark: to be added to each value of the latent.

        Raises:
            ValueError: an unknown or a taken name, or a mark of another shape.
            Unsupported: a sum that the parameters cannot hold, or TenSEAL is not installed.
            StorageError: the key is missing or damaged.
            WorkerError: the cloud has no room, or does not keep the latent.
        """
        stored = self._folder.find(name)
        self._folder.require_free(into)
        if tuple(mark.shape) != stored.shape:
            raise ValueError(
                f"a mark of {_size(tuple(mark.shape))} does not fit {name!r}, which is {_size(stored.shape)}"
            )
        values = _values(mark)
        bound = stored.bound + largest_magnitude(values)
        self._folder.parameters.require_headroom(bound, level=self._folder.parameters.depth)
        made = replace(stored, handle=unguessable_name(), num_terms=stored.num_terms + 1, bound=bound)
        key = self._folder.key()
        with self._session() as (client, cost):
            client.add_mark(stored.handle, made.handle, key.encrypt(values))
        self._folder.add(into, made)
        return cost

    def get(self, name: str) -> tuple[Latent, Cost]:
        """Fetches and decrypts a latent, with noise over what decryption would tell of the key.

        Returns:
            The latent of one picture, in fp32, and the cost.

        Raises:
            ValueError: an unknown name.
            WireError: the cloud returned something else, or altered it so that it does not decrypt.
            StorageError: the key is missing or damaged.
            WorkerError: the cloud does not keep it.
        """
        stored = self._folder.find(name)
        key = self._folder.key()
        with self._session() as (client, cost):
            values = self._decrypted(key, client.get(stored.handle), stored)
        return values.float().reshape(1, *stored.shape), cost

    def _decrypted(self, key: SecretKey, content: bytes, stored: StoredLatent) -> Values:
        num_values = stored.shape[0] * stored.shape[1] * stored.shape[2]
        num = self._folder.parameters.num_ciphertexts(num_values)
        try:
            found = Ciphertexts.from_bytes(content, self._folder.parameters, num_ciphertexts=num, level=stored.level)
            return key.decrypt(found, num_values, flood_bits=FLOOD_BITS, num_terms=stored.num_terms)
        except WireError as error:
            raise WireError(f"the cloud returned no latent of this vault: {error}") from error

    def drop(self, name: str) -> tuple[bool, Cost]:
        """Has the cloud forget a latent, and forgets its name; says whether the cloud kept it until now.

        Raises:
            ValueError: an unknown name.
        """
        stored = self._folder.find(name)
        with self._session() as (client, cost):
            was_held = client.drop(stored.handle)
        self._folder.remove(name)
        return was_held, cost

    def _pair(self, first: str, second: str, into: str) -> tuple[StoredLatent, StoredLatent, StoredLatent]:
        """Two latents that can be combined, and what comes of it."""
        one, two = self._folder.find(first), self._folder.find(second)
        self._folder.require_free(into)
        if one.handle == two.handle:
            raise ValueError(f"{first!r} combined with itself is itself: name two latents")
        if one.shape != two.shape:
            raise ValueError(f"{first!r} is {_size(one.shape)} and {second!r} {_size(two.shape)}: combine equal sizes")
        if one.fingerprint != two.fingerprint:
            raise ValueError(f"{first!r} is of {one.model} and {second!r} of {two.model}: combine latents of one model")
        for name, latent in ((first, one), (second, two)):
            if latent.level >= self._folder.parameters.depth:
                raise ValueError(
                    f"{name!r} came out of a blend or an interpolation and cannot be multiplied again: use the latents "
                    "that it was made of"
                )
        made = StoredLatent(
            handle=unguessable_name(),
            shape=one.shape,
            model=one.model,
            fingerprint=one.fingerprint,
            level=one.level + 1,
            num_terms=max(one.num_terms, two.num_terms),
            bound=max(one.bound, two.bound),
        )
        return one, two, made

    @contextmanager
    def _session(self) -> Iterator[tuple[VaultClient, Cost]]:
        cost = Cost()
        with self._clouds.open_channel() as channel:
            open_session(channel, Vault(), "")
            started = self._clock()
            yield VaultClient(channel, self._folder.vault), cost
            cost.milliseconds = (self._clock() - started) * 1e3
            _count(cost, channel)


def _count(cost: Cost, channel: Channel) -> None:
    cost.sent_bytes, cost.received_bytes = channel.traffic.sent_bytes, channel.traffic.received_bytes


def _values(tensor: Tensor) -> Values:
    return tensor.double().cpu().flatten()


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
