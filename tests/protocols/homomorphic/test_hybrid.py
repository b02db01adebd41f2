import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.parameters import PARAMETERS
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import WireError
from sfumato.protocols.homomorphic.encrypting import decrypt_and_merge, encrypt_entries
from sfumato.protocols.homomorphic.hybrid import received
from sfumato.protocols.homomorphic.index_set import IndexSet
from sfumato.protocols.homomorphic.selection import AllEntries, MinDistortion, NoEntries, RandomEntries


@pytest.fixture(scope="module", autouse=True)
def _needs_tenseal():
    pytest.importorskip("tenseal")


@pytest.fixture(scope="module")
def key(_needs_tenseal):
    return SecretKey(PARAMETERS["one-level"])


def latent(seed=0, shape=(1, 4, 64, 64)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sent(key, x, index_set):
    return received(*encrypt_entries(key, x, index_set), index_set, key.parameters)


SELECTIONS = [
    MinDistortion(threshold=0.01),
    MinDistortion(threshold=0.5),
    RandomEntries(fraction=0.3, seed=1),
    NoEntries(),
    AllEntries(),
]


@pytest.mark.parametrize("selection", SELECTIONS, ids=repr)
def test_an_update_equals_the_plain_one(selection, key):
    """Acceptance A6: decrypt and merge equals the plain update; A2: the number of ciphertexts."""
    x, addend, factor = latent(0), latent(1), 1.0173
    index_set = selection(x)
    held = sent(key, x, index_set)
    assert len(held.ciphertexts) == math.ceil(len(index_set) / 4096)
    updated = held.updated(factor, addend)
    found = decrypt_and_merge(key, updated.ciphertexts, updated.remainder, index_set)
    assert found.dtype == torch.float32
    assert torch.allclose(found, factor * x + addend, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["he-diffusion", "compact-one-level"])
def test_coarser_parameters_stay_within_their_error(name):
    """Acceptance A5: the released parameters err by at most 2e-2 a step."""
    key = SecretKey(PARAMETERS[name])
    x, addend = latent(2), latent(3)
    index_set = MinDistortion(threshold=0.1)(x)
    updated = sent(key, x, index_set).updated(1.05, addend)
    found = decrypt_and_merge(key, updated.ciphertexts, updated.remainder, index_set)
    assert torch.allclose(found, 1.05 * x + addend, rtol=0, atol=2e-2)


@settings(max_examples=8)
@given(seed=st.integers(0, 99), fraction=st.floats(0, 1), rows=st.integers(1, 70), factor=st.floats(0.5, 2))
def test_any_shape_and_set(seed, fraction, rows, factor, key):
    x, addend = (latent(s, (2, 3, rows, 13)) for s in (seed, seed + 1))
    index_set = RandomEntries(fraction=fraction, seed=seed)(x)
    updated = sent(key, x, index_set).updated(factor, addend)
    reply = Ciphertexts.from_bytes(
        updated.ciphertexts.to_bytes(), key.parameters, num_ciphertexts=math.ceil(len(index_set) / 4096), level=1
    )
    found = decrypt_and_merge(key, reply, updated.remainder, index_set)
    assert torch.allclose(found, factor * x + addend, rtol=0, atol=1e-6)


def test_parts_that_do_not_fit_each_other(key):
    x = latent(4, (1, 4, 32, 32))
    index_set = RandomEntries(fraction=0.5, seed=0)(x)
    content, remainder = encrypt_entries(key, x, index_set)
    whole = AllEntries()(latent(0))
    with pytest.raises(WireError, match="a number of ciphertexts of 1 came; expected was 4"):
        received(content, remainder, whole, key.parameters)
    with pytest.raises(ValueError, match="2048 entries are in the clear, got values of shape"):
        received(content, remainder[1:], index_set, key.parameters)
    held = received(content, remainder, index_set, key.parameters)
    with pytest.raises(ValueError, match="16384 encrypted entries take 4 ciphertexts, got 1"):
        replace(held, index_set=whole)
    with pytest.raises(ValueError, match="the index set is of shape"):
        held.updated(1.0, latent(0))
    with pytest.raises(ValueError, match="allow 1 multiplications in a row"):
        held.updated(1.0, x).updated(1.0, x)
    with pytest.raises(WireError, match="expected were 'one-level', 4 at level 0"):
        decrypt_and_merge(key, held.ciphertexts, torch.empty(0), whole)


def test_another_key_and_flooding(key):
    x = latent(5, (1, 4, 32, 32))
    index_set = IndexSet.of_mask(x > 0)
    held = sent(key, x, index_set)
    with pytest.raises(WireError, match="do not decrypt under this key"):
        decrypt_and_merge(SecretKey(key.parameters), held.ciphertexts, held.remainder, index_set)
    flooded = decrypt_and_merge(key, held.ciphertexts, held.remainder, index_set, flood_bits=10)
    assert 1e-7 < float((flooded - x).abs().max()) < 1e-3
    assert torch.equal(flooded[x <= 0], x[x <= 0])
