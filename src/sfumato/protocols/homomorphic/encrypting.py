"""The client's side of a hybrid tensor."""

from jaxtyping import Float
from torch import Tensor

from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.secret_key import SecretKey
from sfumato.protocols.homomorphic.index_set import Entries, IndexSet, Parts


def encrypt_entries(key: SecretKey, dense: Float[Tensor, "..."], index_set: IndexSet) -> tuple[bytes, Entries]:
    """Encrypts the index set's entries, and gives the others as they are.

    Run by: client.

    Raises:
        ValueError: another shape.
        Unsupported: a value that the parameters cannot hold.
    """
    hidden, rest = index_set.split(dense)
    return key.encrypt(hidden), rest


def decrypt_and_merge(
    key: SecretKey, ciphertexts: Ciphertexts, remainder: Entries, index_set: IndexSet, *, flood_bits: int = 0
) -> Float[Tensor, "..."]:
    """Decrypts the index set's entries and puts the tensor together, in the remainder's dtype.

    Run by: client. The result must not go back to who holds the ciphertexts.

    Raises:
        WireError: ciphertexts that do not decrypt under the key, or another number of them.
        ValueError: not as many values in the clear as the index set leaves.
    """
    hidden = key.decrypt(ciphertexts, len(index_set), flood_bits=flood_bits)
    return index_set.merge(Parts(hidden, remainder))
