"""What storing ciphertexts needs besides: differences, and a vector that tells what it is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.envelope import announced, pack
from sfumato.crypto.parameters import parameters_named
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import WireError

pytest.importorskip("tenseal")

VAULT = parameters_named("vault")


@pytest.fixture(scope="module")
def key():
    return SecretKey(VAULT)


def noise(num, seed=0):
    return torch.randn(num, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def encrypted(key, values):
    return Ciphertexts.from_bytes(key.encrypt(values), VAULT, num_ciphertexts=VAULT.num_ciphertexts(len(values)))


@settings(max_examples=10)
@given(num=st.integers(1, 9000), seed=st.integers(0, 99))
def test_a_blend_is_one_multiplication_of_a_difference(num, seed, key):
    a, b, mask = 20 * noise(num, seed), 20 * noise(num, seed + 1), torch.rand(num, dtype=torch.float64)
    one, two = encrypted(key, a), encrypted(key, b)
    blended = one.subtract(two).multiply_each(mask).add(two)
    exact = mask * a + (1 - mask) * b
    assert blended.level == 1
    assert torch.allclose(key.decrypt(blended, num), exact, rtol=0, atol=2e-8)
    assert torch.allclose(key.decrypt(blended, num, flood_bits=40), exact, rtol=0, atol=1e-6)
    assert not torch.allclose(key.decrypt(blended, num, flood_bits=40), exact, rtol=0, atol=1e-9)


def test_a_difference_with_itself_or_with_something_else_is_refused(key):
    one = encrypted(key, noise(9))
    with pytest.raises(ValueError, match="ciphertexts cancel"):
        one.subtract(one)
    with pytest.raises(ValueError, match="cannot subtract 2 ciphertexts of 'vault' from 1 of 'vault'"):
        one.subtract(encrypted(key, noise(5000)))


def test_values_leave_room_after_the_multiplication():
    assert VAULT.largest_value(1) == 256
    assert 2.0**40 * VAULT.error_rms(level=1) < 1e-7


def test_a_vector_announces_itself(key):
    fresh, content = key.encrypt(noise(5000)), encrypted(key, noise(9)).multiply(0.5).to_bytes()
    assert announced(fresh, VAULT) == (2, 0)
    assert announced(content, VAULT) == (1, 1)


def test_a_vector_that_announces_something_else_is_refused(key):
    content = key.encrypt(noise(9))
    for wrong in (b"", content[:20], content[:-1], content + b"x", b"x" + content[1:], content[:-1] + b"\0"):
        with pytest.raises(WireError):
            announced(wrong, VAULT)
    with pytest.raises(WireError, match="0 ciphertexts at level 0 are announced"):
        announced(pack(VAULT, 0, []), VAULT)
    with pytest.raises(WireError, match="1 ciphertexts at level 2 are announced"):
        announced(pack(VAULT, 2, [b"x"]), VAULT)
    with pytest.raises(WireError, match="parameters of 'sealed'"):
        announced(pack(parameters_named("sealed"), 0, [b"x"]), VAULT)
