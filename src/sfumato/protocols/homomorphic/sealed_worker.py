"""The worker half of sealed mode: hold ciphertexts, and add to them."""

from typing import ClassVar

from torch import Tensor

from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.envelope import MOST_CIPHERTEXTS
from sfumato.crypto.seal import seal_context
from sfumato.errors import WireError
from sfumato.protocols.base import WorkerHalf
from sfumato.protocols.homomorphic.messages import Accumulator, Added, EncryptedChange, EncryptedStart, Fetch
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.serialised import as_tensor, content_of
from sfumato.wire.messages import Message


class SealedWorker(WorkerHalf):
    """Holds one run's accumulator; it has no key, and no use for the model.

    Run by: worker.
    Reveals: to the client, the sum of what it sent.
    """

    kinds: ClassVar[tuple[type[Message], ...]] = (EncryptedStart, EncryptedChange, Fetch)

    def __init__(self, spec: Homomorphic):
        """Begins without an accumulator.

        Raises:
            Unsupported: TenSEAL is not installed here.
        """
        self._parameters = spec.ckks
        seal_context(self._parameters)
        self._held: Ciphertexts | None = None
        self._num_steps = 0
        self._has_begun = False

    def handle(self, request: Message) -> Message:
        """Takes the start, adds a change, or gives the accumulator back; in this order, and each run once."""
        match request:
            case EncryptedStart():
                self._begin(request)
                return Added()
            case EncryptedChange():
                self._add(request)
                return Added()
            case Fetch():
                return Accumulator(ciphertexts=as_tensor(self._given_back().to_bytes()))
        raise WireError(f"homomorphic does not answer {type(request).__name__}")

    def _begin(self, start: EncryptedStart) -> None:
        if self._has_begun:
            raise WireError("a run starts once: open another session")
        if not 1 <= start.num_ciphertexts <= MOST_CIPHERTEXTS:
            raise WireError(f"a latent takes 1 to {MOST_CIPHERTEXTS} ciphertexts, not {start.num_ciphertexts}")
        self._held = self._read(start.ciphertexts, start.num_ciphertexts)
        self._has_begun = True

    def _add(self, change: EncryptedChange) -> None:
        held = self._require_held("a change")
        if change.step != self._num_steps:
            raise WireError(f"the change of step {change.step} came where step {self._num_steps} was due")
        addend = self._read(change.ciphertexts, len(held))
        try:
            self._held = held.add(addend)
        except RuntimeError as error:
            raise WireError("a change cancels what is held: anybody could read the sum") from error
        self._num_steps += 1

    def _given_back(self) -> Ciphertexts:
        held, self._held = self._require_held("a request for the accumulator"), None
        return held

    def _require_held(self, what: str) -> Ciphertexts:
        if self._held is None:
            raise WireError(f"{what} came {'after the end' if self._has_begun else 'before the start'} of the run")
        return self._held

    def _read(self, ciphertexts: Tensor, num_ciphertexts: int) -> Ciphertexts:
        return Ciphertexts.from_bytes(content_of(ciphertexts), self._parameters, num_ciphertexts=num_ciphertexts)
