"""The numbers of a ciphertext, as anybody may read them who holds it."""

import numpy as np
from numpy.typing import NDArray

from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.parameters import CkksParameters
from sfumato.crypto.seal import saved, seal_context

_HEADER_BYTES = 16

Residues = NDArray[np.object_]
"""Whole numbers modulo a prime, as Python's: products of 60-bit numbers do not fit a machine's word."""


def first_prime(parameters: CkksParameters) -> int:
    """The prime that ciphertexts of every level have; the largest, or as large as any.

    Raises:
        Unsupported: TenSEAL is not installed.
    """
    data = seal_context(parameters).context.first_context_data()
    return int(data.parms().coeff_modulus()[0].value())


def polynomials_of(ciphertexts: Ciphertexts, index: int) -> tuple[Residues, Residues]:
    """Both polynomials of one ciphertext modulo the first prime: with the secret key s, ``c0 + c1 * s`` is its message.

    Returns:
        Values at the roots of ``X^N + 1`` in SEAL's order, see ``ntt.py``.
    """
    parameters = ciphertexts.parameters
    zstandard = seal_context(parameters).zstandard
    content = zstandard.ZstdDecompressor().decompress(saved(ciphertexts.parts[index])[_HEADER_BYTES:])
    num_primes = len(parameters.modulus_bits) - 1 - ciphertexts.level
    num_words = 2 * num_primes * parameters.ring_degree
    words = np.frombuffer(content[-8 * num_words :], dtype="<u8").reshape(2, num_primes, parameters.ring_degree)
    first, second = words[:, 0].astype(object)
    return first, second
