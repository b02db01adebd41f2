"""A tensor of which some entries are encrypted: index set, packed ciphertexts, and the rest in the clear."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.parameters import CkksParameters
from sfumato.protocols.homomorphic.index_set import Entries, IndexSet


@dataclass(frozen=True, kw_only=True, eq=False)
class HybridTensor:
    """What a cloud holds; it takes no key to compute with it.

    Reveals: the index set, and the remainder's values. An addend in the clear is known to the cloud at the encrypted
    entries too.
    """

    index_set: IndexSet
    ciphertexts: Ciphertexts
    """``ceil(entries / slots)`` of them, the index set's entries in order, zeros after the last."""
    remainder: Entries
    """The other entries, in order."""

    def __post_init__(self) -> None:
        expected = self.ciphertexts.parameters.num_ciphertexts(len(self.index_set))
        if len(self.ciphertexts) != expected:
            raise ValueError(
                f"{len(self.index_set)} encrypted entries take {expected} ciphertexts, got {len(self.ciphertexts)}"
            )
        rest = self.index_set.num_entries - len(self.index_set)
        if self.remainder.dim() != 1 or len(self.remainder) != rest:
            raise ValueError(f"{rest} entries are in the clear, got values of shape {tuple(self.remainder.shape)}")

    def updated(self, factor: float, addend: Float[Tensor, "..."]) -> "HybridTensor":
        """Computes ``factor * x + addend``; one level is used up.

        Run by: worker.

        Args:
            factor: in the clear.
            addend: dense, in the clear, of the tensor's shape; it is taken to the remainder's dtype there.

        Raises:
            ValueError: another shape, or no level is left.
            Unsupported: an addend that the parameters cannot hold.
        """
        hidden, rest = self.index_set.split(addend)
        return replace(
            self,
            ciphertexts=self.ciphertexts.multiply(factor).add_plain(hidden),
            remainder=(factor * self.remainder.double() + rest.double()).to(self.remainder.dtype),
        )


def received(content: bytes, remainder: Entries, index_set: IndexSet, parameters: CkksParameters) -> HybridTensor:
    """Puts together what :func:`~sfumato.protocols.homomorphic.encrypting.encrypt_entries` gave, after it was sent.

    Run by: worker.

    Raises:
        WireError: bad ciphertexts, or not as many as the index set takes.
        ValueError: not as many values in the clear as the index set leaves.
    """
    num = parameters.num_ciphertexts(len(index_set))
    ciphertexts = Ciphertexts.from_bytes(content, parameters, num_ciphertexts=num)
    return HybridTensor(index_set=index_set, ciphertexts=ciphertexts, remainder=remainder)
