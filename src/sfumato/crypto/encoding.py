"""CKKS slots and the coefficients of the polynomial that encodes them, in floating point.

A polynomial m of N real coefficients has N/2 slots: its values at ``z^(3^j)``, z being the complex 2N-th root of one.
Values at conjugate roots are conjugate, so ``m(X) + m(1/X)`` has twice the real parts of the slots at both.

Source: Cheon, Kim, Kim, Song, "Homomorphic encryption for arithmetic of approximate numbers", ASIACRYPT 2017, section
3.2; SEAL numbers the slots by powers of 3.
"""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def symmetric_coefficients(real_slots: Vector) -> Vector:
    """Coefficients of ``m(X) + m(1/X)``, from the real parts of all slots of m, which are all that it takes.

    Whole numbers, but for rounding, where the slots were multiplied by the scale and are exact.
    """
    places = _places(len(real_slots))
    degree = 2 * len(real_slots)
    values = np.empty(degree)
    values[places] = values[degree - 1 - places] = 2 * real_slots
    return (np.fft.fft(values) / degree * np.conj(_twist(degree))).real


def real_slots(coefficients: Vector) -> Vector:
    """The real parts of a polynomial's slots."""
    degree = len(coefficients)
    values = np.fft.ifft(coefficients * _twist(degree)) * degree
    return values[_places(degree // 2)].real


def _places(num_slots: int) -> NDArray[np.int64]:
    """For each slot, the t of its root ``z^(2t + 1)``."""
    exponents = [pow(3, slot, 4 * num_slots) for slot in range(num_slots)]
    return (np.array(exponents, dtype=np.int64) - 1) // 2


def _twist(degree: int) -> NDArray[np.complex128]:
    return np.exp(1j * np.pi * np.arange(degree) / degree)
