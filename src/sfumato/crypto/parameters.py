"""The CKKS parameters that may be used: a list in code, each with at least 128 bits of security.

Nothing else is accepted, from a spec or from the wire. A set with less headroom or depth is never put in the place of
another.

Source: Cheon, Kim, Kim, Song, "Homomorphic encryption for arithmetic of approximate numbers", ASIACRYPT 2017; the
bounds are those of the Homomorphic Encryption Security Standard (2018) for classical 128 bits and ternary secrets, as
Microsoft SEAL enforces them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from sfumato.errors import Unsupported

MOST_MODULUS_BITS = {2048: 54, 4096: 109, 8192: 218, 16384: 438}
"""Bits of the whole modulus, by ring degree, that leave 128 bits of security."""

_FRESH_NOISE = 21 / 2 + 1 / 12
"""Variance of a coefficient's error after encryption: SEAL's centred binomial of 21 pairs, and rounding by encoding."""


@dataclass(frozen=True, kw_only=True)
class CkksParameters:
    """Ring, modulus and scale; all of it public."""

    name: str
    ring_degree: int
    """N: a ciphertext packs N/2 values."""
    modulus_bits: tuple[int, ...]
    """Of each prime. The last is SEAL's special prime, which no ciphertext has."""
    scale_bits: int
    """Values are multiplied by 2 to this and rounded."""
    depth: int
    """How many multiplications may follow each other."""

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise ValueError(f"CKKS parameters {self.name}: " + "; ".join(problems))

    def _problems(self) -> Iterator[str]:
        most = MOST_MODULUS_BITS.get(self.ring_degree)
        if most is None:
            yield f"ring_degree must be one of {', '.join(map(str, MOST_MODULUS_BITS))}, got {self.ring_degree}"
        elif self.total_bits > most:
            yield f"{self.total_bits} bits of modulus at ring degree {self.ring_degree} are less than 128 bits secure"
        if not 0 <= self.depth <= len(self.modulus_bits) - 2:
            yield f"{len(self.modulus_bits)} primes do not allow a depth of {self.depth}"
        elif self._bits_at(self.depth) < self.scale_bits + 4:
            yield f"a scale of 2^{self.scale_bits} leaves no headroom"

    @property
    def total_bits(self) -> int:
        """Bits of the whole modulus, special prime included."""
        return sum(self.modulus_bits)

    @property
    def num_slots(self) -> int:
        """Values in one ciphertext."""
        return self.ring_degree // 2

    @property
    def scale(self) -> float:
        """What values are multiplied by."""
        return 2.0**self.scale_bits

    def num_ciphertexts(self, num_values: int) -> int:
        """How many ciphertexts hold that many values: packed, the last one filled with zeros."""
        return -(-num_values // self.num_slots)

    def _bits_at(self, level: int) -> int:
        return sum(self.modulus_bits[: len(self.modulus_bits) - 1 - level])

    def largest_value(self, level: int = 0) -> float:
        """Magnitude that no value may exceed after so many multiplications: a quarter of the modulus over the scale.

        Past half of the modulus a sum wraps around without a sign.
        """
        return 2.0 ** (self._bits_at(level) - self.scale_bits - 2)

    def require_headroom(self, largest: float, *, level: int = 0) -> None:
        """Refuses values that could wrap.

        Run by: client, each step, with a bound on what the cloud will hold after it.

        Args:
            largest: magnitude of the largest value.
            level: how many multiplications the ciphertext will have behind it.

        Raises:
            Unsupported: too large, or not a number; says what fits.
        """
        limit = self.largest_value(level)
        if not largest < limit:
            raise Unsupported(
                f"a value is not below {limit:g}, the most that CKKS parameters {self.name!r} hold without wrapping "
                f"after {level} multiplications: use parameters with a larger modulus or a smaller scale"
            )

    def error_rms(self, num_terms: float = 1.0, *, level: int = 0) -> float:
        """Estimated root mean square error of a decrypted value.

        Args:
            num_terms: how many fresh ciphertexts were added up; with factors, the sum of the factors' squares.
            level: how many multiplications; each adds the error of its rescaling.
        """
        rescaling = (1 + 2 * self.ring_degree / 3) / 12
        return math.sqrt(self.num_slots * (num_terms * _FRESH_NOISE + level * rescaling)) / self.scale

    def ciphertext_bytes(self, level: int = 0) -> int:
        """Most bytes of one serialised ciphertext: two polynomials as 64-bit words, and what describes them."""
        num_primes = len(self.modulus_bits) - 1 - level
        return 2 * num_primes * self.ring_degree * 8 + 1024


def _listed(*sets: CkksParameters) -> dict[str, CkksParameters]:
    return {s.name: s for s in sets}


PARAMETERS = _listed(
    CkksParameters(name="sealed", ring_degree=8192, modulus_bits=(60, 60), scale_bits=46, depth=0),
    CkksParameters(name="one-level", ring_degree=8192, modulus_bits=(60, 40, 60), scale_bits=40, depth=1),
    CkksParameters(name="two-level", ring_degree=8192, modulus_bits=(60, 40, 40, 60), scale_bits=40, depth=2),
    CkksParameters(
        name="he-diffusion", ring_degree=8192, modulus_bits=(31, 26, 26, 26, 26, 26, 26, 31), scale_bits=26, depth=6
    ),
    CkksParameters(name="flooded", ring_degree=8192, modulus_bits=(60, 60, 60), scale_bits=60, depth=0),
    CkksParameters(name="vault", ring_degree=8192, modulus_bits=(60, 24, 40, 60), scale_bits=74, depth=1),
    CkksParameters(name="compact", ring_degree=4096, modulus_bits=(54, 54), scale_bits=40, depth=0),
    CkksParameters(name="compact-one-level", ring_degree=4096, modulus_bits=(38, 33, 38), scale_bits=33, depth=1),
    CkksParameters(name="wide-one-level", ring_degree=16384, modulus_bits=(60, 40, 60), scale_bits=40, depth=1),
)
"""All that may be used. ``he-diffusion`` is what that paper's authors released; ``sealed`` adds and never multiplies,
and its headroom is that of latents over their signal, where noise schedules begin (700 for betas from 0.0001 to 0.02);
``flooded`` leaves room to add noise to results that are published, and ``vault`` leaves it after a multiplication as
well: 40 bits of noise are below 1e-6. Its primes are as they are for the size: SEAL packs words of 60 bits best."""


def parameters_named(name: str) -> CkksParameters:
    """The parameters of that name.

    Raises:
        Unsupported: not in the list; gives the list.
    """
    if name not in PARAMETERS:
        raise Unsupported(f"no CKKS parameters {name[:40]!r}: choose one of {', '.join(PARAMETERS)}")
    return PARAMETERS[name]
