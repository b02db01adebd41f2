"""The client's side of a vector that a cloud holds encrypted: put it there, change it, and check what comes back.

Nothing is ever sent that was decrypted, or that depends on something decrypted. What comes back is looked at when the
session has ended, so that the cloud sees the same whether it was right or wrong, and is forgotten then: the client goes
on with its own values, which no cloud has touched.

Source: why, Li and Micciancio, "On the security of homomorphic encryption on approximate numbers", EUROCRYPT 2021,
IACR 2020/1533.
"""

from sfumato.crypto.ckks import Ciphertexts, Values, largest_magnitude
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import WireError, WorkerError
from sfumato.protocols.homomorphic.messages import (
    Accumulator,
    Added,
    EncryptedChange,
    EncryptedStart,
    Fetch,
)
from sfumato.protocols.serialised import Serialised, as_tensor, content_of
from sfumato.transport.base import Channel, Pending

LARGEST_ERROR = 1e-6
"""By how much each value of a right accumulator may differ from the client's own: in sigma coordinates, in which final
latents have their own size. CKKS's own error is below 1e-9 with ``sealed`` and below 1e-7 with ``compact``, for
a thousand steps; a cloud that changes a value by less than this is not noticed."""


class Custody:
    """A vector at one cloud, encrypted, beside the client's own.

    Run by: client.
    Reveals: how many ciphertexts the vector takes, how often it changed, and when.
    """

    def __init__(self, channel: Channel, key: SecretKey, start: Values):
        """Hands the vector over.

        Args:
            channel: with one cloud, in a session that nothing was sent in yet.
            key: of this run only.
            start: the vector, in fp64.

        Raises:
            Unsupported: a value that the parameters cannot hold.
        """
        self._channel = channel
        self._key = key
        self._own = start
        self._num_changes = 0
        self._num_ciphertexts = key.parameters.num_ciphertexts(len(start))
        self._under_way: Pending[Added] | None = None
        self._post(EncryptedStart(num_ciphertexts=self._num_ciphertexts, ciphertexts=self._encrypted(start)))

    @property
    def num_sent(self) -> int:
        """Ciphertexts that the cloud was sent."""
        return self._num_ciphertexts * (1 + self._num_changes)

    def change_to(self, values: Values) -> None:
        """Has the cloud add the difference, and does not wait for it.

        Args:
            values: what the vector is from now on.

        Raises:
            Unsupported: a value, or a difference, that the parameters cannot hold.
            SfumatoError: the cloud refused what it was sent before.
        """
        self._key.parameters.require_headroom(largest_magnitude(values))
        self._post(EncryptedChange(step=self._num_changes, ciphertexts=self._encrypted(values - self._own)))
        self._own = values
        self._num_changes += 1

    def end(self) -> None:
        """Fetches the accumulator, ends the session, and then checks that it is the client's own vector.

        Raises:
            WireError: not ciphertexts of this run, or altered ones.
            WorkerError: other values.
        """
        self._settle()
        (reply,) = self._channel.exchange([Fetch()], Accumulator)
        self._channel.close()
        (cloud,) = self._channel.clouds
        try:
            found = self._decrypted(reply)
        except WireError as error:
            raise WireError(f"{cloud} returned no accumulator of this run: {error}") from error
        if not largest_magnitude(found - self._own) <= LARGEST_ERROR:
            raise WorkerError(
                f"{cloud} returned an accumulator that is not the sum of what it was sent: it computes wrongly or "
                "changed it, so use another cloud"
            )

    def _post(self, message: EncryptedStart | EncryptedChange) -> None:
        """Sends it, and leaves the answer to the next call: meanwhile the client denoises."""
        self._settle()
        self._under_way = self._channel.post([message], Added)

    def _settle(self) -> None:
        if self._under_way is not None:
            self._under_way.wait()
            self._under_way = None

    def _encrypted(self, values: Values) -> Serialised:
        return as_tensor(self._key.encrypt(values))

    def _decrypted(self, reply: Accumulator) -> Values:
        ciphertexts = Ciphertexts.from_bytes(
            content_of(reply.ciphertexts), self._key.parameters, num_ciphertexts=self._num_ciphertexts
        )
        return self._key.decrypt(ciphertexts, len(self._own))
