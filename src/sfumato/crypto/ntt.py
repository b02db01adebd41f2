"""Polynomials modulo ``X^N + 1`` and a prime, by coefficients and by values (the number-theoretic transform).

Values are in rising order of the roots' exponents: place t holds the value at ``r^(2t + 1)``, r being the smallest
primitive 2N-th root of one. So place ``N - 1 - t`` holds the value at the inverse root, and reversing the values maps
X to its inverse. SEAL keeps the same values in bit-reversed order (:func:`in_order`).

Source: Longa and Naehrig, "Speeding up the number theoretic transform for faster ideal lattice-based cryptography",
CANS 2016, IACR 2016/504, section 2.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from sfumato.crypto.words import Residues


@cache
def smallest_root(prime: int, degree: int) -> int:
    """The smallest primitive 2N-th root of one.

    Raises:
        ValueError: there is none, as 2N does not divide the prime less one.
    """
    if (prime - 1) % (2 * degree):
        raise ValueError(f"modulo {prime} there is no primitive root of order {2 * degree}")
    candidates = (pow(base, (prime - 1) // (2 * degree), prime) for base in range(2, prime))
    found = next(root for root in candidates if pow(root, degree, prime) == prime - 1)
    return min(pow(found, odd, prime) for odd in range(1, 2 * degree, 2))


def in_order(values: Residues) -> Residues:
    """Values from bit-reversed order to rising exponents, and back."""
    bits = len(values).bit_length() - 1
    return values[[int(f"{place:0{bits}b}"[::-1], 2) for place in range(len(values))]]


def values_of(coefficients: Residues, prime: int) -> Residues:
    """Evaluates a polynomial at all roots of ``X^N + 1``."""
    degree = len(coefficients)
    root = smallest_root(prime, degree)
    return _transform(coefficients * _powers(root, degree, prime) % prime, root * root % prime, prime)


def coefficients_of(values: Residues, prime: int) -> Residues:
    """Finds the polynomial that has these values; the inverse of :func:`values_of`."""
    degree = len(values)
    inverse = pow(smallest_root(prime, degree), -1, prime)
    scale = pow(degree, -1, prime)
    found = _transform(values, inverse * inverse % prime, prime)
    return found * _powers(inverse, degree, prime) % prime * scale % prime


def centred(residues: Residues, prime: int) -> NDArray[np.float64]:
    """Residues as numbers of either sign, the smallest in magnitude."""
    return np.where(residues > prime // 2, residues - prime, residues).astype(np.float64)


def _powers(base: int, num: int, prime: int) -> Residues:
    found = np.empty(num, dtype=object)
    power = 1
    for place in range(num):
        found[place] = power
        power = power * base % prime
    return found


def _transform(vector: Residues, root: int, prime: int) -> Residues:
    """``sum over k of vector_k root^(tk)`` for each t; the root's order is the vector's length."""
    return _columns(vector[:, None], root, prime)[:, 0]


def _columns(columns: Residues, root: int, prime: int) -> Residues:
    """The transform of each column, by halves."""
    num, width = columns.shape
    if num == 1:
        return columns
    halves = _columns(np.concatenate([columns[::2], columns[1::2]], axis=1), root * root % prime, prime)
    even, odd = halves[:, :width], halves[:, width:]
    turned = odd * _powers(root, num // 2, prime)[:, None] % prime
    return np.concatenate([even + turned, even - turned]) % prime
