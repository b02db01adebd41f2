"""Polynomials as SEAL has them: transforms, slots, and a ciphertext decrypted by hand."""

import numpy as np
import pytest
import torch

from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.encoding import real_slots, symmetric_coefficients
from sfumato.crypto.ntt import centred, coefficients_of, in_order, smallest_root, values_of
from sfumato.crypto.parameters import PARAMETERS
from sfumato.crypto.secret_key import SecretKey
from sfumato.crypto.words import first_prime, polynomials_of

pytest.importorskip("tenseal")
PRIME, DEGREE = 97, 8
"""2 * 8 divides 96."""


def residues(generator, num=DEGREE, prime=PRIME):
    return generator.integers(0, prime, num).astype(object)


def test_values_by_hand():
    """3 + X^2 at the odd powers of the root."""
    root = smallest_root(PRIME, DEGREE)
    assert pow(root, DEGREE, PRIME) == PRIME - 1
    assert not [r for r in range(2, root) if pow(r, DEGREE, PRIME) == PRIME - 1]
    polynomial = np.array([3, 0, 1, 0, 0, 0, 0, 0], dtype=object)
    assert list(values_of(polynomial, PRIME)) == [
        (3 + pow(root, 2 * (2 * t + 1), PRIME)) % PRIME for t in range(DEGREE)
    ]


def test_there_and_back_and_products():
    generator = np.random.default_rng(0)
    a, b = residues(generator), residues(generator)
    assert (coefficients_of(values_of(a, PRIME), PRIME) == a).all()
    product = coefficients_of(values_of(a, PRIME) * values_of(b, PRIME) % PRIME, PRIME)
    full = np.convolve(a, b)
    full = np.concatenate([full, np.zeros(1, dtype=object)])
    assert (product == (full[:DEGREE] - full[DEGREE:]) % PRIME).all()


def test_reversed_values_are_of_the_inverse():
    a = residues(np.random.default_rng(1))
    inverse = coefficients_of(values_of(a, PRIME)[::-1], PRIME)
    assert inverse[0] == a[0]
    assert (inverse[1:] == (-a[:0:-1]) % PRIME).all()


def test_order_is_its_own_inverse():
    places = np.arange(8).astype(object)
    assert list(in_order(places)) == [0, 4, 2, 6, 1, 5, 3, 7]
    assert list(in_order(in_order(places))) == list(places)


def test_no_root():
    with pytest.raises(ValueError, match="modulo 97 there is no primitive root of order 64"):
        smallest_root(97, 32)


def test_real_parts_of_slots():
    generator = np.random.default_rng(2)
    polynomial = generator.normal(size=DEGREE)
    symmetric = symmetric_coefficients(real_slots(polynomial))
    assert symmetric[0] == pytest.approx(2 * polynomial[0])
    assert symmetric[1:] == pytest.approx(polynomial[1:] - polynomial[:0:-1])


@pytest.mark.parametrize("name", ["he-diffusion", "one-level"])
@pytest.mark.parametrize("level", [0, 1])
def test_a_ciphertext_decrypted_by_hand(name, level):
    """Also one that was written as a seed."""
    parameters = PARAMETERS[name]
    key = SecretKey(parameters)
    values = torch.randn(5000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fresh = Ciphertexts.from_bytes(key.encrypt(values), parameters, num_ciphertexts=2)
    ciphertexts = fresh.multiply(1.5) if level else fresh
    prime = first_prime(parameters)
    words = key._key.data()
    secret = in_order(np.array([words.data(i) for i in range(parameters.ring_degree)], dtype=object))
    assert set(centred(coefficients_of(secret, prime), prime)) == {-1, 0, 1}
    decrypted = []
    for index in range(2):
        first, second = map(in_order, polynomials_of(ciphertexts, index))
        message = coefficients_of((first + second * secret) % prime, prime)
        decrypted.append(real_slots(centred(message, prime)) / parameters.scale)
    expected = values * (1.5 if level else 1)
    assert np.abs(np.concatenate(decrypted)[:5000] - expected.numpy()).max() < 1e-3
