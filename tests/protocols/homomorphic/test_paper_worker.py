"""A cloud that updates hybrid latents refuses whatever does not fit."""

from dataclasses import fields

import pytest
import torch

from recorded import served
from sfumato.crypto.parameters import parameters_named
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import WireError
from sfumato.protocols.homomorphic.messages import Fetch, HybridLatent
from sfumato.protocols.homomorphic.paper_worker import PaperWorker
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.readable import Condition
from sfumato.protocols.serialised import as_tensor

pytest.importorskip("tenseal")

ONE_LEVEL = parameters_named("one-level")
SHAPE = (1, 4, 8, 8)
NUM_HIDDEN = 100
HERE = Homomorphic(mode="paper", parameters="one-level")
THERE = Homomorphic(mode="paper", parameters="one-level", denoiser="cloud", accept_plaintext_unet=True)


@pytest.fixture(scope="module")
def key():
    return SecretKey(ONE_LEVEL)


def unchecked(kind, **values):
    message = object.__new__(kind)
    for f in fields(kind):
        object.__setattr__(message, f.name, values[f.name])
    return message


def hybrid(key, **changes):
    step = changes.get("step", 0)
    values = {
        "step": step,
        "shape": SHAPE,
        "positions": torch.arange(NUM_HIDDEN, dtype=torch.int32),
        "ciphertexts": as_tensor(key.encrypt(torch.ones(NUM_HIDDEN, dtype=torch.float64))),
        "remainder": torch.ones(256 - NUM_HIDDEN),
        "factor": 0.5,
        "coefficients": (1.0,) * (step + 1),
        "prediction": torch.ones(SHAPE),
        "unet_input": None,
        "timestep": 0.0,
        "guidance_scale": 1.0,
    }
    return unchecked(HybridLatent, **values | changes)


def at(*positions):
    return torch.tensor(positions, dtype=torch.int32)


REFUSED = {
    "a later step": ({"step": 1}, "step 1 came where step 0 was due"),
    "three axes": ({"shape": (4, 8, 8)}, "it has four axes"),
    "an empty axis": ({"shape": (1, 4, 0, 8)}, "it has four axes"),
    "more than memory": ({"shape": (10**6, 4, 64, 64)}, "keeps predictions of 67108864 entries"),
    "more than ciphertexts": ({"shape": (300, 4, 64, 64)}, "fits 1024 ciphertexts"),
    "positions out of order": ({"positions": torch.arange(NUM_HIDDEN).flip(0).int()}, "positions must be sorted"),
    "positions beyond": ({"positions": torch.arange(200, 300, dtype=torch.int32)}, "positions must be sorted"),
    "negative positions": ({"positions": torch.arange(-1, 99, dtype=torch.int32)}, "positions must be sorted"),
    "positions of another format": ({"positions": torch.arange(NUM_HIDDEN)}, "where a list of 32-bit integers was due"),
    "positions of two axes": ({"positions": at(0, 1)[None]}, "where a list of 32-bit integers was due"),
    "fewer positions": ({"positions": at(3)}, "floating point of shape 255 was due"),
    "a remainder of no axes": ({"remainder": torch.tensor(1.0)}, "floating point of shape 156 was due"),
    "an integer remainder": ({"remainder": torch.ones(156, dtype=torch.int64)}, "floating point of shape 156"),
    "no prediction": ({"prediction": None}, "is missing"),
    "another prediction": ({"prediction": torch.ones(1, 4, 8, 9)}, "of shape 1x4x8x8 was due"),
    "a prediction that is not finite": ({"prediction": torch.full(SHAPE, float("inf"))}, "not finite"),
    "a factor that is no number": ({"factor": float("nan")}, "not finite"),
    "a coefficient that is no number": ({"coefficients": (float("inf"),)}, "not finite"),
    "a coefficient more": ({"coefficients": (1.0, 1.0)}, "1 predictions are to be combined with 2 numbers"),
    "an update past the headroom": (
        {"coefficients": (1e9,)},
        "the update of step 0 cannot be computed: a value is not",
    ),
    "no bytes": ({"ciphertexts": torch.ones(4)}, "came where bytes were due"),
    "bytes that are nothing": ({"ciphertexts": torch.zeros(99, dtype=torch.uint8)}, "altered"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_cloud_refuses_what_does_not_fit(tiny_sd, key, name):
    changes, sentence = REFUSED[name]
    with pytest.raises(WireError, match=sentence):
        PaperWorker(HERE, served(tiny_sd).unet).handle(hybrid(key, **changes))


def test_what_it_takes_is_updated(tiny_sd, key):
    reply = PaperWorker(HERE, served(tiny_sd).unet).handle(hybrid(key))
    assert torch.equal(reply.remainder, torch.full((156,), 1.5))


def test_a_shape_that_changes(tiny_sd, key):
    half = PaperWorker(HERE, served(tiny_sd).unet)
    half.handle(hybrid(key))
    shape = (1, 4, 8, 16)
    later = hybrid(key, step=1, shape=shape, remainder=torch.ones(512 - NUM_HIDDEN), prediction=torch.ones(shape))
    with pytest.raises(WireError, match="the latents of a run changed their shape"):
        half.handle(later)


def test_a_cloud_that_denoises_needs_to_be_told_and_one_that_does_not_refuses_to_be(tiny_sd, key):
    unet = served(tiny_sd).unet
    told = unchecked(Condition, prompt_embeds=torch.ones(1, 5, 32), pooled=None, time_ids=None)
    with pytest.raises(WireError, match="does not answer Condition"):
        PaperWorker(HERE, unet).handle(told)
    half = PaperWorker(THERE, unet)
    with pytest.raises(WireError, match="a latent came before its conditioning"):
        half.handle(hybrid(key, prediction=None, unet_input=torch.ones(SHAPE)))
    half = PaperWorker(THERE, unet)
    half.handle(told)
    with pytest.raises(WireError, match="is missing"):
        half.handle(hybrid(key))
    with pytest.raises(WireError, match="does not answer Fetch"):
        half.handle(Fetch())
