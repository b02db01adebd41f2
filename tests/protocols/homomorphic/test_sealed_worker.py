"""A cloud that holds ciphertexts refuses whatever does not fit."""

from contextlib import suppress
from dataclasses import fields

import pytest
import torch

from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.parameters import parameters_named
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import WireError
from sfumato.protocols.homomorphic.messages import Added, EncryptedChange, EncryptedStart, Fetch
from sfumato.protocols.homomorphic.sealed_worker import SealedWorker
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.serialised import as_tensor, content_of

pytest.importorskip("tenseal")

SEALED = parameters_named("sealed")


@pytest.fixture(scope="module")
def key():
    return SecretKey(SEALED)


def sent(kind, key, num=5000, **values):
    content = as_tensor(key.encrypt(torch.ones(num, dtype=torch.float64)))
    message = object.__new__(kind)
    for f in fields(kind):
        given = {"ciphertexts": content, "num_ciphertexts": 2, "step": 0} | values
        object.__setattr__(message, f.name, given[f.name])
    return message


REFUSED = {
    "a change first": ([], EncryptedChange, {}, "a change came before the start"),
    "a request for nothing": ([], Fetch, {}, "came before the start of the run"),
    "a second start": ([EncryptedStart], EncryptedStart, {}, "a run starts once"),
    "a start after the end": ([EncryptedStart, Fetch], EncryptedStart, {}, "a run starts once"),
    "a change after the end": ([EncryptedStart, Fetch], EncryptedChange, {}, "a change came after the end"),
    "a second end": ([EncryptedStart, Fetch], Fetch, {}, "came after the end of the run"),
    "a later step": ([EncryptedStart], EncryptedChange, {"step": 1}, "step 1 came where step 0 was due"),
    "a step again": ([EncryptedStart, EncryptedChange], EncryptedChange, {}, "step 0 came where step 1 was due"),
    "a ciphertext too few": ([EncryptedStart], EncryptedChange, {"num": 9}, "a number of ciphertexts of 1"),
    "another number than is said": ([], EncryptedStart, {"num_ciphertexts": 3}, "a number of ciphertexts of 2"),
    "no ciphertexts": ([], EncryptedStart, {"num_ciphertexts": 0}, "takes 1 to 1024 ciphertexts, not 0"),
    "a number that no memory holds": ([], EncryptedStart, {"num_ciphertexts": 10**12}, "takes 1 to 1024"),
    "floats": ([], EncryptedStart, {"ciphertexts": torch.zeros(9)}, "came where bytes were due"),
    "bytes of two axes": ([], EncryptedStart, {"ciphertexts": torch.zeros(3, 3, dtype=torch.uint8)}, "bytes were due"),
    "bytes that are nothing": ([], EncryptedStart, {"ciphertexts": torch.zeros(99, dtype=torch.uint8)}, "altered"),
    "a reply": ([], Added, {}, "homomorphic does not answer Added"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_cloud_refuses_what_does_not_fit(key, name):
    before, kind, values, sentence = REFUSED[name]
    half = SealedWorker(Homomorphic())
    for earlier in before:
        half.handle(sent(earlier, key))
    with pytest.raises(WireError, match=sentence):
        half.handle(sent(kind, key, **values))


def test_ciphertexts_of_another_parameter_set_are_refused(key):
    with pytest.raises(WireError, match="with parameters of 'sealed' came; expected was 'compact'"):
        SealedWorker(Homomorphic(parameters="compact")).handle(sent(EncryptedStart, key))


def test_a_change_that_cancels_the_accumulator_is_refused(key):
    half = SealedWorker(Homomorphic())
    half.handle(sent(EncryptedStart, key))
    negated = Ciphertexts(
        parameters=SEALED, level=0, parts=tuple(half._held._made("negate", p) for p in half._held.parts)
    )
    with pytest.raises(WireError, match="a change cancels what is held: anybody could read the sum"):
        half.handle(sent(EncryptedChange, key, ciphertexts=as_tensor(negated.to_bytes())))


def test_a_change_that_was_refused_is_not_added(key):
    half = SealedWorker(Homomorphic())
    half.handle(sent(EncryptedStart, key))
    for values in ({"step": 7}, {"num": 9}):
        with suppress(WireError):
            half.handle(sent(EncryptedChange, key, **values))
    reply = half.handle(sent(Fetch, key))
    found = Ciphertexts.from_bytes(content_of(reply.ciphertexts), SEALED, num_ciphertexts=2)
    assert torch.allclose(key.decrypt(found, 5000), torch.ones(5000, dtype=torch.float64), rtol=0, atol=1e-9)
