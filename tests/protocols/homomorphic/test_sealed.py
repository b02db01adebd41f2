"""A cloud holds the latents encrypted, and the picture is the one that it would be without any cloud."""

import sys
from contextlib import suppress
from math import prod

import pytest
import torch

from recorded import in_process, record, served
from sfumato.crypto.envelope import MOST_CIPHERTEXTS
from sfumato.crypto.key_search import holds_secret_key
from sfumato.crypto.parameters import parameters_named
from sfumato.crypto.seal import seal_context
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import ModelError, Unsupported, WireError, WorkerError
from sfumato.models.sampling import SCHEDULERS
from sfumato.protocols.homomorphic import custody
from sfumato.protocols.homomorphic.messages import Accumulator, Fetch
from sfumato.protocols.homomorphic.sealed_worker import SealedWorker
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.serialised import as_tensor, content_of
from sfumato.transport.in_process import InProcessChannel
from sfumato.worker.sessions import CloudSession

pytest.importorskip("tenseal")

SEALED = parameters_named("sealed")
SMALL = {"height": 32, "width": 32, "num_inference_steps": 2, "seed": 3, "output_type": "latent"}
KINDS = ["Hello", "EncryptedStart", "EncryptedChange", "EncryptedChange", "Fetch"]
"""What a run of two steps sends."""


@pytest.fixture
def keys(monkeypatch) -> list[SecretKey]:
    """Every key that a run makes, kept alive."""
    made = []
    monkeypatch.setattr(SecretKey, "destroy", lambda key: made.append(key))
    return made


@pytest.fixture
def decrypted(monkeypatch) -> list[torch.Tensor]:
    """What runs decrypt."""
    found = []
    decrypt = SecretKey.decrypt

    def kept(key, ciphertexts, num_values):
        found.append(decrypt(key, ciphertexts, num_values))
        return found[-1]

    monkeypatch.setattr(SecretKey, "decrypt", kept)
    return found


@pytest.mark.parametrize(("model", "scheduler"), [*(("tiny_sd", name) for name in SCHEDULERS), ("tiny_sdxl", "euler")])
def test_the_picture_is_plains_and_the_accumulator_is_its_latent(request, model, scheduler, decrypted):
    """Acceptance A5, at the end of a run."""
    folder = request.getfixturevalue(model)
    arguments = SMALL | {"num_inference_steps": 4}
    pipe = in_process(folder, Homomorphic(), scheduler)
    own = pipe("x", **arguments).images
    assert torch.equal(own, in_process(folder, Plain(), scheduler)("x", **arguments).images)
    (found,) = decrypted
    found *= pipe._half._scales[-1]
    assert torch.allclose(found, own.double().flatten(), rtol=0, atol=1e-9)
    assert not torch.equal(found, own.double().flatten()), "what is returned is never the decrypted copy"


@pytest.mark.parametrize("parameters", ["sealed", "compact"])
def test_fifty_steps_of_the_bundled_models_schedule(portraits, parameters, decrypted, monkeypatch):
    """It begins at a 157th of signal: the largest numbers of any bundled schedule, through all of the headroom."""
    monkeypatch.setattr(
        "sfumato.protocols.homomorphic.sealed_client.predict", lambda unet, x, *_: torch.cat([x, x]).sin()
    )
    pipe = in_process(portraits, Homomorphic(parameters=parameters), "dpm++")
    own = pipe("x", num_inference_steps=50, seed=1, num_images_per_prompt=2, output_type="latent").images
    (found,) = decrypted
    assert torch.allclose(found, own.double().flatten(), rtol=0, atol=1e-9 if parameters == "sealed" else 1e-7)
    slots = parameters_named(parameters).num_slots
    assert pipe._half.remarks().fields["encryption"]["ciphertexts"] == 51 * own.numel() // slots


def test_a_batch_is_one_vector(tiny_sd):
    pipe = in_process(tiny_sd, Homomorphic())
    report = pipe(["a", "b"], **SMALL | {"num_images_per_prompt": 3}).report
    num = SEALED.num_ciphertexts(6 * 4 * 16 * 16)
    assert num == 2
    assert report.to_dict()["encryption"] == {
        "parameters": "sealed",
        "ciphertexts": 3 * num,
        "prompt_in_clear": False,
        "index_set_public": False,
        "fraction_public": 0.0,
        "predictions_public": False,
        "unet_input_public": False,
        "decrypted_values_returned": False,
    }
    assert report.traffic.rounds == 1 + 1 + 2 + 1
    assert (report.compute.cloud_flops, report.compute.cloud_weight_bytes) == (0, 0)


def test_the_callbacks_latents_are_what_is_held(tiny_sd, decrypted):
    pipe = in_process(tiny_sd, Homomorphic())
    replaced = pipe("x", callback_on_step_end=lambda _, i, __, state: {"latents": state["latents"] * 0.5}, **SMALL)
    assert torch.allclose(decrypted[0] * pipe._half._scales[-1], replaced.images.double().flatten(), rtol=0, atol=1e-9)


# What the cloud receives


def windows(tensor, length=16):
    content = tensor.contiguous().numpy().tobytes()
    return {content[at : at + length] for at in range(0, len(content) - length, len(content) // 64 // 8 * 8)}


def clear_bytes(run, content):
    """Which of the client's latents stand in the bytes."""
    held = [run.output.images, *run.latents, *(x.double() for x in run.latents)]
    return [i for i, x in enumerate(held) if any(window in content for window in windows(x))]


def test_no_key_and_no_latent_is_in_what_the_cloud_receives(tiny_sd, tmp_path, keys):
    """Acceptance A7; plain shows that the search would find a latent, and the key's own bytes that it finds a key."""
    arguments = {"height": 32, "width": 32, "num_inference_steps": 3}
    run = record(tiny_sd, Homomorphic(), tmp_path / "sealed", **arguments)
    content = (tmp_path / "sealed/cloud-1.transcript").read_bytes()
    (key,) = keys
    assert len(content) > 4 * 50_000
    assert not holds_secret_key(content, SEALED, key)
    assert clear_bytes(run, content) == []
    assert b"fisherman" not in content
    coefficients = b"".join(key._key.data().data(i).to_bytes(8, "little") for i in range(16384))
    assert holds_secret_key(content + coefficients, SEALED, key)
    plain = record(tiny_sd, Plain(), tmp_path / "plain", **arguments)
    assert clear_bytes(plain, (tmp_path / "plain/cloud-1.transcript").read_bytes())


def test_what_a_transcript_looks_like_depends_on_the_number_of_ciphertexts_alone(tiny_sd, tmp_path):
    arguments = {"height": 32, "width": 32, "num_inference_steps": 2}
    first = record(tiny_sd, Homomorphic(), tmp_path / "1", **arguments)
    other = arguments | {"negative_prompt": "blue", "seed": 0, "guidance_scale": 1.0, "width": 24}
    second = record(tiny_sd, Homomorphic(), tmp_path / "2", prompt="another", **other)
    for run in (first, second):
        assert [e.kind for e in run.sent(0)] == KINDS
        assert all(t.dtype == torch.uint8 for e in run.sent(0) for t in e.tensors.values())
    for one, two in zip(first.sent(0), second.sent(0), strict=True):
        assert one.values == two.values
        assert abs(one.size_bytes - two.size_bytes) < 64  # what zstd makes of random words


def test_a_key_serves_one_run_and_is_destroyed_however_it_ends(tiny_sd, monkeypatch):
    made = []
    create = SecretKey.__init__
    monkeypatch.setattr(SecretKey, "__init__", lambda key, parameters: (made.append(key), create(key, parameters))[1])
    pipe = in_process(tiny_sd, Homomorphic())
    pipe("x", **SMALL)
    pipe("x", **SMALL)
    monkeypatch.setattr(custody.Custody, "change_to", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with suppress(KeyboardInterrupt):
        pipe("x", **SMALL)
    assert len({id(key) for key in made}) == len(made) == 3
    for key in made:
        with pytest.raises(ValueError, match="the secret key was destroyed"):
            key.encrypt(torch.zeros(1, dtype=torch.float64))


# A cloud that answers something else


class SpoiltCloud:
    """One cloud in this process that changes the accumulator before it returns it; keeps what it was sent."""

    def __init__(self, folder, spoil):
        self._folder, self._spoil = folder, spoil
        self.sent, self.channels = [], []

    def open_channel(self):
        session = CloudSession(served(self._folder))

        def handle(request):
            self.sent.append(type(request).__name__)
            if isinstance(request, Fetch) and self._spoil is not None:
                held = session._half._held
                return Accumulator(ciphertexts=as_tensor(self._spoil(held, session.handle(request))))
            return session.handle(request)

        self.channels.append(InProcessChannel([handle]))
        return self.channels[-1]

    def close(self): ...


def another_keys(held, _):
    return SecretKey(SEALED).encrypt(torch.zeros(len(held) * SEALED.num_slots, dtype=torch.float64))


def altered(held, reply):
    content = bytearray(content_of(reply.ciphertexts))
    content[len(content) // 2] ^= 1
    return bytes(content)


def constant(value):
    return lambda held, _: held.add_plain(torch.full((3,), value, dtype=torch.float64)).to_bytes()


UNREADABLE = "^cloud-1 returned no accumulator of this run: ciphertexts "
SPOILS = {
    "a value off by a millionth": (
        constant(1.1e-6),
        WorkerError,
        "^cloud-1 returned an accumulator that is not the sum",
    ),
    "everything added twice": (lambda held, _: held.add(held).to_bytes(), WorkerError, "not the sum of what it was"),
    "out of the headroom": (
        lambda held, _: (
            held.add_plain(torch.full((9,), 4095.0).double()).add_plain(torch.full((9,), 4095.0).double()).to_bytes()
        ),
        WireError,
        UNREADABLE + "do not decrypt",
    ),
    "another key's": (another_keys, WireError, UNREADABLE + "do not decrypt under this key"),
    "altered": (altered, WireError, UNREADABLE + "fail their digest; they were altered"),
    "truncated": (lambda _, reply: content_of(reply.ciphertexts)[:-1], WireError, UNREADABLE),
    "nothing": (lambda *_: b"x", WireError, UNREADABLE + "end within their header"),
    "of other parameters": (
        lambda held, _: SecretKey(parameters_named("compact")).encrypt(torch.zeros(9, dtype=torch.float64)),
        WireError,
        UNREADABLE + "with parameters of 'compact' came",
    ),
    "a ciphertext more": (
        lambda *_: SecretKey(SEALED).encrypt(torch.zeros(5000, dtype=torch.float64)),
        WireError,
        "returned no accumulator",
    ),
}


@pytest.mark.parametrize("name", SPOILS)
def test_a_wrong_accumulator_ends_the_run_and_the_cloud_is_not_told(tiny_sd, name):
    spoil, kind, sentence = SPOILS[name]
    pipe = in_process(tiny_sd, Homomorphic())
    pipe._clouds = cloud = SpoiltCloud(tiny_sd, spoil)
    with pytest.raises(kind, match=sentence) as ended:
        pipe("x", **SMALL)
    assert "\n" not in str(ended.value)
    assert cloud.sent == KINDS


def test_an_honest_cloud_is_sent_the_same(tiny_sd):
    pipe = in_process(tiny_sd, Homomorphic())
    pipe._clouds = cloud = SpoiltCloud(tiny_sd, None)
    pipe("x", **SMALL)
    assert cloud.sent == KINDS


def test_the_session_has_ended_before_the_check_begins(tiny_sd, monkeypatch):
    """So that neither what the cloud sees of its end nor when it sees it depends on the outcome."""
    pipe = in_process(tiny_sd, Homomorphic())
    pipe._clouds = SpoiltCloud(tiny_sd, None)
    closed = []

    def watched(_):
        closed.append(not pipe._clouds.channels[-1]._live)
        raise WireError("stopped here")

    monkeypatch.setattr(custody, "content_of", watched)
    with pytest.raises(WireError, match="stopped here"):
        pipe("x", **SMALL)
    assert closed == [True]


@pytest.mark.parametrize("tensor", [torch.zeros(9), torch.zeros(2, 2, dtype=torch.uint8), torch.tensor(float("nan"))])
def test_an_accumulator_that_is_no_bytes(tiny_sd, tensor):
    pipe = in_process(tiny_sd, Homomorphic())
    cloud = SpoiltCloud(tiny_sd, None)
    pipe._clouds = cloud
    answer = object.__new__(Accumulator)
    object.__setattr__(answer, "ciphertexts", tensor)
    opened = cloud.open_channel

    def spoilt():
        channel = opened()
        (handle,) = channel._clouds._handlers
        channel._clouds._handlers = [lambda r: answer if isinstance(r, Fetch) else handle(r)]
        return channel

    cloud.open_channel = spoilt
    with pytest.raises(WireError, match="returned no accumulator of this run: a tensor of"):
        pipe("x", **SMALL)


# What the client refuses


def test_latents_beyond_the_headroom_or_not_finite_stop_the_run(tiny_sd):
    pipe = in_process(tiny_sd, Homomorphic())

    def growing(_, index, __, state):
        return {"latents": state["latents"] * (1e6 if index == 1 else 1)}

    with pytest.raises(Unsupported, match="a value is not below 4096"):
        pipe("x", callback_on_step_end=growing, **SMALL)
    with pytest.raises(ModelError, match="after 1 steps latents are not finite"):
        pipe("x", callback_on_step_end=lambda *call: {"latents": call[-1]["latents"] * float("nan")}, **SMALL)


def test_too_many_pictures_and_schedules_without_signal_are_refused_before_any_cloud_is_contacted(tiny_sd, monkeypatch):
    pipe = in_process(tiny_sd, Homomorphic())
    monkeypatch.setattr(pipe._clouds, "open_channel", lambda: pytest.fail("a cloud was contacted"))
    shape = (MOST_CIPHERTEXTS * SEALED.num_slots // 64 + 1, 1, 8, 8)
    assert SEALED.num_ciphertexts(prod(shape)) == MOST_CIPHERTEXTS + 1
    with pytest.raises(ValueError, match="take 1025 ciphertexts and a cloud holds 1024: make fewer"):
        pipe._half.check(pipe._unet, shape, 1)
    monkeypatch.setattr("sfumato.protocols.homomorphic.sealed_client.sigma_scales", lambda _: [1e-4] * 3)
    with pytest.raises(Unsupported, match="a value is not below 4096"):
        pipe("x", **SMALL)


def test_without_tenseal_no_cloud_is_contacted(tiny_sd, monkeypatch):
    pipe = in_process(tiny_sd, Homomorphic())
    monkeypatch.setattr(pipe._clouds, "open_channel", lambda: pytest.fail("a cloud was contacted"))
    seal_context.cache_clear()
    monkeypatch.setitem(sys.modules, "tenseal", None)
    monkeypatch.setitem(sys.modules, "tenseal.sealapi", None)
    try:
        with pytest.raises(Unsupported, match=r"pip install 'sfumato\[he\]'"):
            pipe("x", **SMALL)
        with pytest.raises(Unsupported, match=r"pip install 'sfumato\[he\]'"):
            SealedWorker(Homomorphic())
    finally:
        seal_context.cache_clear()


def test_several_clouds_are_refused():
    with pytest.raises(ValueError, match="num_clouds must be 1, got 2: one cloud holds the ciphertexts"):
        Homomorphic(num_clouds=2)
