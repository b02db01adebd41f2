import copy
import math
import os
import pickle
import struct
import subprocess
import sys
from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.envelope import pack
from sfumato.crypto.key_search import holds_secret_key
from sfumato.crypto.parameters import MOST_MODULUS_BITS, PARAMETERS, CkksParameters, parameters_named
from sfumato.crypto.seal import MAGIC, seal_context
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import Unsupported, WireError

SEALED, ONE_LEVEL, COMPACT = (parameters_named(n) for n in ("sealed", "one-level", "compact"))


@pytest.fixture(scope="module", autouse=True)
def _needs_tenseal():
    pytest.importorskip("tenseal")


@pytest.fixture(scope="module")
def keys(_needs_tenseal):
    return {name: SecretKey(parameters) for name, parameters in PARAMETERS.items()}


def noise(num, seed=0):
    return torch.randn(num, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def encrypted(key, values):
    num = key.parameters.num_ciphertexts(len(values))
    return Ciphertexts.from_bytes(key.encrypt(values), key.parameters, num_ciphertexts=num)


# Parameters


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_set_is_128_bits_secure_and_decrypts_to_its_estimated_error(name, keys):
    parameters, key = PARAMETERS[name], keys[name]
    assert parameters.total_bits <= MOST_MODULUS_BITS[parameters.ring_degree]
    seal = seal_context(parameters).seal
    most = seal.CoeffModulus.MaxBitCount(parameters.ring_degree, seal.SEC_LEVEL_TYPE.TC128)
    assert most == MOST_MODULUS_BITS[parameters.ring_degree]
    values = noise(parameters.num_slots)
    error = (key.decrypt(encrypted(key, values), len(values)) - values).square().mean().sqrt()
    # Doubles end at 1e-15; otherwise 2048 errors or more, so the estimate holds within a few percent.
    assert float(error) == pytest.approx(parameters.error_rms(), rel=0.1, abs=3e-15)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ring_degree": 1024}, "ring_degree must be one of 2048, 4096, 8192, 16384, got 1024"),
        ({"modulus_bits": (60, 60, 60, 60)}, "240 bits of modulus at ring degree 8192 are less than 128 bits secure"),
        ({"depth": 1}, "2 primes do not allow a depth of 1"),
        ({"scale_bits": 58}, r"a scale of 2\^58 leaves no headroom"),
    ],
)
def test_an_insecure_or_useless_set_cannot_be_written_down(changes, problem):
    values = {"name": "x", "ring_degree": 8192, "modulus_bits": (60, 60), "scale_bits": 50, "depth": 0}
    with pytest.raises(ValueError, match=f"CKKS parameters x: {problem}"):
        CkksParameters(**values | changes)


def test_a_set_outside_the_list_is_refused():
    with pytest.raises(Unsupported, match="no CKKS parameters 'fast': choose one of sealed, one-level"):
        parameters_named("fast")


# Arithmetic


@settings(max_examples=12)
@given(num=st.integers(0, 9000), seed=st.integers(0, 99))
def test_any_length_is_packed_into_as_few_ciphertexts_as_hold_it(num, seed, keys):
    key, values = keys["compact"], 20 * noise(num, seed)
    found = encrypted(key, values)
    assert len(found) == math.ceil(num / 2048)
    assert torch.allclose(key.decrypt(found, num), values, rtol=0, atol=1e-7)


@settings(max_examples=8)
@given(factor=st.floats(-4, 4), seed=st.integers(0, 99), num=st.integers(4000, 4200))
def test_a_linear_update_is_linear(factor, seed, num, keys):
    key = keys["one-level"]
    x, other, addend = noise(num, seed), noise(num, seed + 1), noise(num, seed + 2)
    found = encrypted(key, x).multiply(factor).add_plain(addend).add(encrypted(key, other))
    assert found.level == 1
    assert torch.allclose(key.decrypt(found, num), factor * x + addend + other, rtol=0, atol=1e-6)


def test_a_mask_multiplies_value_by_value_also_where_it_is_all_zeros(keys):
    key, x = keys["one-level"], noise(3 * 4096)
    mask = torch.cat([torch.ones(4096), torch.zeros(4096), noise(4096).abs()])
    assert torch.allclose(key.decrypt(encrypted(key, x).multiply_each(mask), len(x)), mask * x, rtol=0, atol=1e-6)
    assert torch.allclose(key.decrypt(encrypted(key, x).multiply(0.0), len(x)), torch.zeros_like(x), atol=1e-6)


def test_padding_stays_zero(keys):
    key = keys["one-level"]
    slots = key.decrypt(encrypted(key, noise(100)).multiply(0.9).add_plain(noise(100)), 4096)
    assert float(slots[100:].abs().max()) < 1e-7


@pytest.mark.parametrize("name", ["two-level", "he-diffusion"])
def test_as_many_multiplications_as_the_depth_and_no_more(name, keys):
    key, x = keys[name], noise(50)
    found = encrypted(key, x)
    for level in range(key.parameters.depth):
        assert found.level == level
        found = found.multiply(0.9)
    expected = 0.9**key.parameters.depth * x
    assert torch.allclose(key.decrypt(found, 50), expected, rtol=0, atol=2e-2 if name == "he-diffusion" else 1e-6)
    with pytest.raises(ValueError, match=f"allow {key.parameters.depth} multiplications in a row"):
        found.multiply(0.9)


def test_fifty_additions_at_depth_zero(keys):
    """Acceptance A5: 16384 values, 1e-6; one-level with a factor for each fresh term stays within it too."""
    terms = [noise(16384, seed) for seed in range(50)]
    exact = torch.stack(terms).sum(0)
    total = encrypted(keys["sealed"], terms[0])
    for term in terms[1:]:
        total = total.add(encrypted(keys["sealed"], term))
    assert len(total) == 4
    assert torch.allclose(keys["sealed"].decrypt(total, 16384), exact, rtol=0, atol=1e-9)
    key = keys["one-level"]
    total = encrypted(key, terms[0][:4096]).lowered(1)
    for term in terms[1:]:
        total = total.add(encrypted(key, term[:4096]).multiply(1.0))
    assert torch.allclose(key.decrypt(total, 4096), exact[:4096], rtol=0, atol=1e-6)


def test_operands_that_do_not_fit(keys):
    one, two = encrypted(keys["one-level"], noise(10)), encrypted(keys["one-level"], noise(5000))
    with pytest.raises(ValueError, match="cannot add 2 ciphertexts of 'one-level' to 1 of 'one-level'"):
        one.add(two)
    with pytest.raises(ValueError, match="5000 values do not fit 1 ciphertexts of 4096 slots"):
        one.add_plain(noise(5000))
    with pytest.raises(ValueError, match=r"level must be in \[0, 1\], got 2"):
        one.lowered(2)
    with pytest.raises(ValueError, match="encoded value is too large"):
        one.multiply(1e30)


# Headroom


def test_values_that_could_wrap_are_refused(keys):
    assert SEALED.largest_value() == 4096
    assert keys["sealed"].encrypt(torch.tensor([4095.9], dtype=torch.float64))
    for value in (4096.0, -1e9, math.nan, math.inf):
        with pytest.raises(Unsupported, match="a value is not below 4096, the most that CKKS parameters 'sealed' hold"):
            keys["sealed"].encrypt(torch.tensor([0.0, value], dtype=torch.float64))
    with pytest.raises(Unsupported, match="after 1 multiplications"):
        encrypted(keys["one-level"], noise(5)).multiply(1.0).add_plain(torch.full((5,), 2.0**18, dtype=torch.float64))


def test_a_sum_beyond_the_headroom_is_an_error_and_not_a_number(keys):
    key = keys["sealed"]
    large = encrypted(key, torch.full((4096,), 4000.0, dtype=torch.float64))
    with pytest.raises(WireError, match="computed past their headroom"):
        key.decrypt(large.add(large), 4096)


# Bytes


def test_seeded_ciphertexts_are_half_the_size(keys):
    """Acceptance A4: a step of 16384 values sends at most 300 KiB."""
    sent = keys["sealed"].encrypt(noise(16384))
    assert len(sent) <= 300 << 10
    computed = Ciphertexts.from_bytes(sent, SEALED, num_ciphertexts=4).to_bytes()
    assert 1.9 < len(computed) / len(sent) < 2.1
    assert torch.allclose(
        keys["sealed"].decrypt(Ciphertexts.from_bytes(computed, SEALED, num_ciphertexts=4), 16384), noise(16384)
    )


def test_size_does_not_tell_values_or_how_many_are_in_use(keys):
    sizes = {len(keys["sealed"].encrypt(v)) for v in (noise(1), noise(4096), torch.zeros(77, dtype=torch.float64))}
    assert max(sizes) - min(sizes) < 64  # what zstd makes of its own last bytes


def test_no_two_encryptions_are_alike(keys):
    first, second = (keys["sealed"].encrypt(noise(10)) for _ in range(2))
    assert first[-60000:] != second[-60000:]


def test_without_anonymous_memory_a_private_folder_is_used_and_removed(keys, monkeypatch, tmp_path):
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    modes = []
    made = os.mkdir
    monkeypatch.setattr(os, "mkdir", lambda path, mode=0o777: (modes.append(mode), made(path, mode))[1])
    assert torch.allclose(keys["sealed"].decrypt(encrypted(keys["sealed"], noise(9)), 9), noise(9))
    assert modes
    assert set(modes) == {0o700}
    assert not list(tmp_path.iterdir())


@settings(max_examples=25)
@given(where=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_altered_bytes_are_an_error(where, bit, keys):
    content = bytearray(keys["compact"].encrypt(noise(10)))
    content[where % len(content)] ^= 1 << bit
    with pytest.raises(WireError):
        Ciphertexts.from_bytes(bytes(content), COMPACT, num_ciphertexts=1)


@settings(max_examples=25)
@given(end=st.integers(0, 10**6))
def test_truncated_bytes_are_an_error(end, keys):
    content = keys["compact"].encrypt(noise(2100))
    with pytest.raises(WireError):
        Ciphertexts.from_bytes(content[: end % len(content)], COMPACT, num_ciphertexts=2)


def payload_of(key, num=10):
    return key.encrypt(noise(num))[32 + 4 + 16 :]


def payload_with(key, change):
    """A payload whose inflated content was changed, deflated again under a header that fits."""
    seal, payload = seal_context(key.parameters), payload_of(key)
    content = bytearray(seal.zstandard.ZstdDecompressor().decompress(payload[16:]))
    stream = seal.zstandard.ZstdCompressor().compress(change(content))
    return payload[:8] + struct.pack("<Q", 16 + len(stream)) + stream


def read_payload(payload, parameters=COMPACT):
    return Ciphertexts.from_bytes(pack(parameters, 0, [payload]), parameters, num_ciphertexts=1)


def test_what_an_attacker_writes_with_a_right_digest_is_an_error_too(keys):
    """Whoever alters a payload can compute the digest, so what comes after it must hold alone."""
    payload = payload_of(keys["compact"])

    def with_size(content):
        return content[:8] + struct.pack("<Q", len(content)) + content[16:]

    large = payload + bytes(COMPACT.ciphertext_bytes() - len(payload) + 1)
    cases = {
        "header does not describe": [
            b"\0" + payload[1:],
            payload + b"x",
            payload[:15],
            payload[:5] + b"\0" + payload[6:],
            payload[:5] + b"\1" + payload[6:],
        ],
        "stream is broken": [with_size(payload + b"x"), with_size(payload[:-1]), with_size(payload[:18])],
        "would inflate to another size": [payload_with(keys["compact"], lambda c: c + b"x")],
    }
    for message, contents in cases.items():
        for content in contents:
            with pytest.raises(WireError, match=message):
                read_payload(content)
    with pytest.raises(WireError, match="truncated, altered or oversized"):
        Ciphertexts.from_bytes(pack(COMPACT, 0, [with_size(large), payload]), COMPACT, num_ciphertexts=2)
    assert read_payload(payload_with(keys["compact"], bytes))


@pytest.mark.parametrize("at", range(97))
def test_nothing_but_words_and_seed_is_the_senders_choice(at, keys):
    def altered(content):
        content[at] ^= 2
        return bytes(content)

    with pytest.raises(WireError, match="another modulus, level, scale or form"):
        read_payload(payload_with(keys["compact"], altered))


def test_coefficients_beyond_the_modulus_are_an_error(keys):
    def altered(content):
        content[97:105] = b"\xff" * 8
        return bytes(content)

    with pytest.raises(WireError, match="cannot be read"):
        read_payload(payload_with(keys["compact"], altered))


def test_bombs_never_reach_seal(keys):
    """Small valid streams that would inflate to gigabytes, outside and within."""
    repeated = b"".join(struct.pack("<I", 131072 << 3 | 2)[:3] + b"\0" for _ in range(10000))
    outer = b"\x28\xb5\x2f\xfd\x00\x58" + repeated + b"\x01\0\0"
    bomb = payload_of(keys["compact"])[:8] + struct.pack("<Q", 16 + len(outer)) + outer
    with pytest.raises(WireError, match="would inflate to another size"):
        read_payload(bomb)

    def nested(content):
        inner = outer[: len(content) - 89]
        content[73:89] = MAGIC + b"\4\3\2\0\0" + struct.pack("<Q", 16 + len(inner))
        content[89 : 89 + len(inner)] = inner
        return bytes(content)

    with pytest.raises(WireError, match="another modulus, level, scale or form"):
        read_payload(payload_with(keys["compact"], nested))


@settings(max_examples=40)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_seal_takes_altered_content_or_says_so(changes, keys):
    def altered(content):
        for at, value in changes:
            content[at % len(content)] = value
        return bytes(content)

    with suppress(WireError):  # and no other
        read_payload(payload_with(keys["compact"], altered))


def test_ciphertexts_of_other_parameters_number_or_level(keys):
    content = keys["one-level"].encrypt(noise(10))
    with pytest.raises(WireError, match="parameters of 'one-level' came; expected was 'two-level'"):
        Ciphertexts.from_bytes(content, parameters_named("two-level"), num_ciphertexts=1)
    with pytest.raises(WireError, match="a number of ciphertexts of 1 came; expected was 2"):
        Ciphertexts.from_bytes(content, ONE_LEVEL, num_ciphertexts=2)
    with pytest.raises(WireError, match="a level of 0 came; expected was 1"):
        Ciphertexts.from_bytes(content, ONE_LEVEL, num_ciphertexts=1, level=1)
    payload = payload_of(keys["one-level"])
    with pytest.raises(WireError):  # says level 1, holds level 0
        Ciphertexts.from_bytes(pack(ONE_LEVEL, 1, [payload]), ONE_LEVEL, num_ciphertexts=1, level=1)
    with pytest.raises(WireError):  # says sealed, is of one-level
        Ciphertexts.from_bytes(pack(SEALED, 0, [payload]), SEALED, num_ciphertexts=1)


def test_a_ciphertext_of_another_scale_or_without_encryption(keys):
    found = encrypted(keys["one-level"], noise(10))
    found.parts[0].scale = 2.0**39
    with pytest.raises(WireError, match="another modulus, level, scale or form"):
        Ciphertexts.from_bytes(found.to_bytes(), ONE_LEVEL, num_ciphertexts=1)
    transparent = encrypted(keys["one-level"], noise(10))
    with pytest.raises(RuntimeError, match="transparent"):  # raised after the fact
        seal_context(ONE_LEVEL).evaluator.sub_inplace(transparent.parts[0], transparent.parts[0])
    with pytest.raises(WireError, match="not encrypted"):
        Ciphertexts.from_bytes(transparent.to_bytes(), ONE_LEVEL, num_ciphertexts=1)


def test_more_bytes_than_so_many_ciphertexts_have(keys):
    with pytest.raises(WireError, match="1 of them have at most"):
        Ciphertexts.from_bytes(bytes(10**6), SEALED, num_ciphertexts=1)


# Keys


@pytest.mark.parametrize("name", ["sealed", "compact", "he-diffusion", "wide-one-level", "flooded"])
def test_another_key_is_found_out(name, keys):
    other = SecretKey(PARAMETERS[name])
    with pytest.raises(WireError, match="do not decrypt under this key"):
        keys[name].decrypt(encrypted(other, noise(10)), 10)


def test_a_key_shows_itself_to_nobody(keys):
    key = keys["sealed"]
    assert repr(key) == "SecretKey(parameters='sealed')"
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="a secret key is not copied, pickled or sent"):
            leave(key)
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(encrypted(key, noise(3)))
    assert "seal" not in repr(encrypted(key, noise(3))).replace("'sealed'", "")


def test_a_destroyed_key_does_nothing():
    key = SecretKey(COMPACT)
    sent = encrypted(key, noise(3))
    key.destroy()
    with pytest.raises(ValueError, match="the secret key was destroyed"):
        key.encrypt(noise(3))
    with pytest.raises(ValueError, match="the secret key was destroyed"):
        key.decrypt(sent, 3)


def test_no_secret_key_is_in_what_is_sent(keys, tmp_path):
    """Acceptance A7, with positive controls: the key as SEAL saves it, bare, and in a context of TenSEAL."""
    import tenseal

    key = keys["sealed"]
    sent = key.encrypt(noise(5000))
    computed = encrypted(key, noise(5000)).add(encrypted(key, noise(5000))).to_bytes()
    for content in (sent, computed, sent + computed):
        assert not holds_secret_key(content, SEALED, key)
    key._key.save(str(tmp_path / "key"))
    saved = (tmp_path / "key").read_bytes()
    assert holds_secret_key(b"before" + saved + b"after", SEALED)
    bare = b"".join(key._key.data().data(i).to_bytes(8, "little") for i in range(2048))
    assert holds_secret_key(b"x" + bare, SEALED, key)
    assert not holds_secret_key(b"x" + bare, SEALED, SecretKey(SEALED))
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, -1, [60, 60])
    assert holds_secret_key(context.serialize(save_secret_key=True), SEALED)
    assert not holds_secret_key(context.serialize(save_secret_key=False), SEALED)


def test_who_holds_only_bytes_can_compute_and_not_decrypt(keys):
    held = encrypted(keys["sealed"], noise(10))
    assert not [n for n in dir(held) if "decrypt" in n or "key" in n.lower()]
    assert not [n for n in vars(seal_context(SEALED)) if "key" in n or "crypt" in n]


# Flooding


@pytest.mark.parametrize(("name", "bits"), [("sealed", 20), ("flooded", 30), ("one-level", 12)])
def test_flooding_adds_noise_of_the_size_that_it_says(name, bits, keys):
    key, values = keys[name], noise(4096)
    found = encrypted(key, values)
    flooded = key.decrypt(found, 4096, flood_bits=bits, num_terms=4.0)
    expected = 2**bits * key.parameters.error_rms(4.0)
    error = (flooded - values).square().mean().sqrt()
    assert float(error) == pytest.approx(expected, rel=0.08)  # seven standard deviations
    assert not torch.equal(flooded, key.decrypt(found, 4096, flood_bits=bits, num_terms=4.0))


def test_wrong_flooding(keys):
    found = encrypted(keys["sealed"], noise(5))
    with pytest.raises(ValueError, match=r"flood_bits must be in \[0, 40\], got 41"):
        keys["sealed"].decrypt(found, 5, flood_bits=41)
    with pytest.raises(ValueError, match="num_terms must be above 0"):
        keys["sealed"].decrypt(found, 5, flood_bits=1, num_terms=0.0)


# Who loads what, in fresh processes


def printed_by(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout


def test_without_tenseal_it_says_what_to_install():
    code = (
        "import sys\n"
        "from sfumato.crypto.parameters import PARAMETERS\n"
        "import sfumato.crypto.secret_key as s, sfumato.crypto.key_search\n"
        "assert 'tenseal' not in sys.modules\n"
        "sys.modules['tenseal'] = None\n"
        "try: s.SecretKey(PARAMETERS['sealed'])\n"
        "except Exception as e: print(type(e).__name__, e)\n"
    )
    assert printed_by(code) == "Unsupported homomorphic encryption needs TenSEAL: pip install 'sfumato[he]'\n"


def test_who_computes_on_ciphertexts_loads_nothing_that_makes_keys():
    code = "import sys, sfumato.protocols.homomorphic.hybrid; print('sfumato.crypto.secret_key' in sys.modules)"
    assert printed_by(code) == "False\n"
