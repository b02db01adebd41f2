"""The client's side of CKKS: encrypts straight to bytes, and decrypts.

No decrypted value, nor anything computed from one, may reach a holder of the ciphertexts unless it was flooded: the
errors of two decrypted values give away the key.

Source: Li and Micciancio, "On the security of homomorphic encryption on approximate numbers", EUROCRYPT 2021, IACR
2020/1533; flooding: Li, Micciancio, Schultz, Sorrell, "Securing approximate homomorphic encryption using differential
privacy", CRYPTO 2022, IACR 2022/816. Its Gaussian noise on coefficients is the same as Gaussian noise on slots,
where it is added here.
"""

from typing import Any, NoReturn

import torch

from sfumato.crypto.ckks import Ciphertexts, Values, chunks_of, largest_magnitude
from sfumato.crypto.envelope import pack
from sfumato.crypto.parameters import CkksParameters
from sfumato.crypto.seal import SealContext, saved, seal_context
from sfumato.errors import WireError
from sfumato.randomness import unsearchable_doubles

MOST_FLOOD_BITS = 40


class SecretKey:
    """Encrypts and decrypts; it has no form that could be printed, copied, pickled or sent.

    One that has to outlive its process is kept by ``key_file.py``, which takes it from here and from nowhere else.
    """

    def __init__(self, parameters: CkksParameters, kept: Any = None) -> None:
        """Draws a key from the operating system.

        Args:
            parameters: that it is for.
            kept: SEAL's key, if it was drawn before and read from its file.

        Raises:
            Unsupported: TenSEAL is not installed.
        """
        self.parameters = parameters
        self._seal: SealContext = seal_context(parameters)
        seal = self._seal.seal
        self._key: Any = seal.KeyGenerator(self._seal.context).secret_key() if kept is None else kept
        self._encryptor: Any = seal.Encryptor(self._seal.context, self._key)
        self._decryptor: Any = seal.Decryptor(self._seal.context, self._key)

    def __repr__(self) -> str:
        return f"SecretKey(parameters={self.parameters.name!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret key is not copied, pickled or sent")

    def destroy(self) -> None:
        """Forgets the key; SEAL overwrites its memory. What was encrypted with it stays encrypted."""
        self._key = self._encryptor = self._decryptor = None

    def _require_alive(self) -> None:
        if self._key is None:
            raise ValueError("the secret key was destroyed: make a new one, and encrypt again")

    def encrypt(self, values: Values) -> bytes:
        """Encrypts to bytes that ``Ciphertexts.from_bytes`` reads: ``ceil(n / slots)`` ciphertexts, zero-padded.

        Half of each is written as the seed that it was drawn from, so they are half the size of a computed one. Two
        encryptions of the same values share nothing.

        Reveals: the parameters and how many ciphertexts; not how many values of the last one are in use.

        Raises:
            Unsupported: a value that the parameters cannot hold.
            ValueError: the key was destroyed.
        """
        self._require_alive()
        self.parameters.require_headroom(largest_magnitude(values))
        seal = self._seal.seal
        payloads = []
        for chunk in chunks_of(values, self.parameters):
            plaintext = seal.Plaintext()
            self._seal.encoder.encode(chunk, self.parameters.scale, plaintext)
            payloads.append(saved(self._encryptor.encrypt_symmetric(plaintext)))
        return pack(self.parameters, 0, payloads)

    def decrypt(
        self, ciphertexts: Ciphertexts, num_values: int, *, flood_bits: int = 0, num_terms: float = 1.0
    ) -> Values:
        """Decrypts the first so many values. Whether that worked must not be told to who made the ciphertexts.

        Args:
            ciphertexts: made with this key.
            num_values: how many were encrypted.
            flood_bits: adds Gaussian noise, from the operating system, of 2 to this times the error that the values
                have by estimate; for values that are published. About that many bits of margin in the size of the
                noise, not a proof. 0 adds none: such values must stay with the holder of the key.
            num_terms: see :meth:`~sfumato.crypto.parameters.CkksParameters.error_rms`; only for flooding.

        Raises:
            WireError: the ciphertexts are of other parameters, another number, or do not decrypt under this key.
            ValueError: wrong arguments, or the key was destroyed.
        """
        self._require_alive()
        if not 0 <= flood_bits <= MOST_FLOOD_BITS:
            raise ValueError(f"flood_bits must be in [0, {MOST_FLOOD_BITS}], got {flood_bits}")
        if not num_terms > 0:
            raise ValueError(f"num_terms must be above 0, got {num_terms}")
        ciphertexts.require(self.parameters, self.parameters.num_ciphertexts(num_values), ciphertexts.level)
        chunks = [self._decrypted(c) for c in ciphertexts.parts]
        values = torch.cat([torch.empty(0, dtype=torch.float64), *chunks])
        self._require_meaning(values, ciphertexts.level)
        values = values[:num_values]
        if flood_bits:
            noise = 2.0**flood_bits * self.parameters.error_rms(num_terms, level=ciphertexts.level)
            values = values + noise * unsearchable_doubles((num_values,))
        return values

    def _decrypted(self, ciphertext: Any) -> Values:
        plaintext = self._seal.seal.Plaintext()
        self._decryptor.decrypt(ciphertext, plaintext)
        return torch.tensor(self._seal.encoder.decode_double(plaintext), dtype=torch.float64)

    def _require_meaning(self, values: Values, level: int) -> None:
        """Refuses what another key's ciphertexts decrypt to.

        That is uniform modulo q, and in slots Gaussian, 74 times as wide (for 8192; 52 for 4096, 105 for 16384) as the
        interval that honest values keep to: that thousands of slots all fall into it does not happen.
        """
        if not largest_magnitude(values) < self.parameters.largest_value(level):
            raise WireError(
                "ciphertexts do not decrypt under this key: they were made with another key, altered, or computed past "
                "their headroom"
            )
