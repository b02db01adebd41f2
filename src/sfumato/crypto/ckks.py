"""Arithmetic on encrypted vectors of any length (CKKS): what a holder of ciphertexts can do, which is not to decrypt.

It takes no key at all, neither public nor for relinearisation, so nothing of a key is ever sent. Keys are in
``secret_key.py``, which a cloud does not load.

What is not offered: integrity. Whoever holds ciphertexts can change what they decrypt to.

Source: Cheon, Kim, Kim, Song, "Homomorphic encryption for arithmetic of approximate numbers", ASIACRYPT 2017; computed
by Microsoft SEAL in TenSEAL (Benaissa et al. 2021, arXiv 2104.03152).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.crypto.envelope import pack, unpack
from sfumato.crypto.parameters import CkksParameters
from sfumato.crypto.received import read_ciphertext
from sfumato.crypto.seal import SealContext, saved, seal_context
from sfumato.errors import WireError

Values = Float[Tensor, " value"]


def chunks_of(values: Values, parameters: CkksParameters) -> list[list[float]]:
    """Values cut into as many lists of slots as hold them, the last one filled with zeros."""
    rows = torch.zeros(parameters.num_ciphertexts(len(values)) * parameters.num_slots, dtype=torch.float64)
    rows[: len(values)] = values
    chunks: list[list[float]] = rows.reshape(-1, parameters.num_slots).tolist()
    return chunks


def largest_magnitude(values: Values) -> float:
    """Of the largest value; not a number where one is not."""
    return float(values.abs().max()) if len(values) else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Ciphertexts:
    """An encrypted vector, packed; anybody may compute on it.

    Values that are added or multiplied are shorter than the ciphertexts' slots or fill them; what is missing is zero.
    The scale is the parameters' own at every level, so that ciphertexts of one level can always be added.
    """

    parameters: CkksParameters
    level: int
    """How many multiplications are behind it."""
    parts: tuple[Any, ...] = field(repr=False)
    """SEAL's ciphertexts."""

    def __len__(self) -> int:
        return len(self.parts)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("ciphertexts are sent with to_bytes, never pickled")

    @property
    def _seal(self) -> SealContext:
        return seal_context(self.parameters)

    def require(self, parameters: CkksParameters, num_ciphertexts: int, level: int) -> None:
        """Checks that these are the ciphertexts that were expected.

        Raises:
            WireError: other parameters, another number of ciphertexts, or another level.
        """
        found = (self.parameters.name, len(self), self.level)
        if found != (expected := (parameters.name, num_ciphertexts, level)):
            raise WireError(
                "ciphertexts are of {!r}, {} of them at level {}; expected were {!r}, {} at level {}".format(
                    *found, *expected
                )
            )

    @classmethod
    def from_bytes(
        cls, content: bytes, parameters: CkksParameters, *, num_ciphertexts: int, level: int = 0
    ) -> "Ciphertexts":
        """Reads what :meth:`to_bytes` or :meth:`~sfumato.crypto.secret_key.SecretKey.encrypt` wrote, from anybody.

        Args:
            content: all of it.
            parameters, num_ciphertexts, level: what the reader expects; nothing is taken from the bytes.

        Raises:
            WireError: truncated, altered, oversized, of other parameters, number, level or scale, or not encrypted.
            Unsupported: TenSEAL is not installed.
        """
        payloads = unpack(content, parameters, num_ciphertexts, level)
        return cls(
            parameters=parameters, level=level, parts=tuple(read_ciphertext(p, parameters, level) for p in payloads)
        )

    def to_bytes(self) -> bytes:
        """Serialises.

        Reveals: the parameters, how many ciphertexts and how many multiplications, beside the ciphertexts.
        """
        return pack(self.parameters, self.level, [saved(c) for c in self.parts])

    def add(self, other: "Ciphertexts") -> "Ciphertexts":
        """Adds value by value; the one with fewer multiplications is brought to the other's level, without loss.

        Raises:
            ValueError: of other parameters or of another length.
        """
        left, right = self._alike(other, "add {} to {}")
        return replace(left, parts=tuple(self._made("add", a, b) for a, b in zip(left.parts, right.parts, strict=True)))

    def subtract(self, other: "Ciphertexts") -> "Ciphertexts":
        """Subtracts value by value; otherwise as :meth:`add`.

        Raises:
            ValueError: of other parameters, of another length, or the same ciphertexts, which leave nothing encrypted.
        """
        left, right = self._alike(other, "subtract {} from {}")
        try:
            return replace(
                left, parts=tuple(self._made("sub", a, b) for a, b in zip(left.parts, right.parts, strict=True))
            )
        except RuntimeError as error:
            raise ValueError("ciphertexts cancel: anybody could read the difference") from error

    def add_plain(self, values: Values) -> "Ciphertexts":
        """Adds values that are not encrypted.

        Raises:
            ValueError: more values than slots.
            Unsupported: a value that the parameters cannot hold.
        """
        self.parameters.require_headroom(largest_magnitude(values), level=self.level)
        chunks = self._spread(values)
        scale = self.parameters.scale
        return replace(
            self,
            parts=tuple(
                self._made("add_plain", c, self._encoded(v, scale)) for c, v in zip(self.parts, chunks, strict=True)
            ),
        )

    def multiply(self, factor: float) -> "Ciphertexts":
        """Multiplies all values by one that is not encrypted; see :meth:`multiply_each`."""
        return self._multiplied([factor] * len(self))

    def multiply_each(self, values: Values) -> "Ciphertexts":
        """Multiplies value by value with values that are not encrypted; one level is used up.

        A ciphertext times nothing but zeros would be no ciphertext: it is multiplied by the smallest factor that there
        is instead, one over the prime that is dropped (2^-40 in ``one-level``), far below the scheme's own error.

        Raises:
            ValueError: no level is left, more values than slots, or a factor too large.
        """
        return self._multiplied(self._spread(values))

    def _multiplied(self, factors: Sequence[Any]) -> "Ciphertexts":
        if self.level == self.parameters.depth:
            raise ValueError(
                f"CKKS parameters {self.parameters.name!r} allow {self.parameters.depth} multiplications in a row; "
                "use parameters with more levels"
            )
        # Rescaling divides the scale by this prime: encoded with it, a factor leaves the scale exactly as it was.
        prime = float(self._seal.last_primes[self.level])
        parts = tuple(
            self._made("rescale_to_next", self._made("multiply_plain", c, self._factor(f, prime)))
            for c, f in zip(self.parts, factors, strict=True)
        )
        return replace(self, level=self.level + 1, parts=parts)

    def _factor(self, factor: float | list[float], prime: float) -> Any:
        encoded = self._encoded(factor, prime)
        return self._encoded(1 / prime, prime) if encoded.is_zero() else encoded

    def _alike(self, other: "Ciphertexts", what: str) -> tuple["Ciphertexts", "Ciphertexts"]:
        """Both at the later of their levels."""
        if (other.parameters, len(other)) != (self.parameters, len(self)):
            theirs = f"{len(other)} ciphertexts of {other.parameters.name!r}"
            raise ValueError(f"cannot {what.format(theirs, f'{len(self)} of {self.parameters.name!r}')}")
        level = max(self.level, other.level)
        return self.lowered(level), other.lowered(level)

    def lowered(self, level: int) -> "Ciphertexts":
        """The same values with the modulus of a later level.

        Raises:
            ValueError: not between the own level and the parameters' depth.
        """
        if not self.level <= level <= self.parameters.depth:
            raise ValueError(f"level must be in [{self.level}, {self.parameters.depth}], got {level}")
        parts = self.parts
        for _ in range(self.level, level):
            parts = tuple(self._made("mod_switch_to_next", c) for c in parts)
        return replace(self, level=level, parts=parts)

    def _made(self, operation: str, *operands: Any) -> Any:
        made = self._seal.seal.Ciphertext()
        act: Callable[..., None] = getattr(self._seal.evaluator, operation)
        act(*operands, made)
        return made

    def _encoded(self, values: float | list[float], scale: float) -> Any:
        plaintext = self._seal.seal.Plaintext()
        self._seal.encoder.encode(values, list(self._seal.parms_ids[self.level]), scale, plaintext)
        return plaintext

    def _spread(self, values: Values) -> list[list[float]]:
        num_slots = len(self) * self.parameters.num_slots
        if len(values) > num_slots:
            raise ValueError(f"{len(values)} values do not fit {len(self)} ciphertexts of {num_slots} slots in all")
        padded = torch.zeros(num_slots, dtype=torch.float64)
        padded[: len(values)] = values
        return chunks_of(padded, self.parameters)
