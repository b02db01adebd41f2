"""A cloud refuses whatever does not fit, always with a WireError."""

from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
import torch

from recorded import ALL_LAYERS, in_process, served
from sfumato.errors import SpecMismatch, WireError
from sfumato.models.layers import layers_of
from sfumato.protocols.layer_split.spec import (
    ConvStrip,
    CrossAttentionStrip,
    LayerSplit,
    Moments,
    NormStrip,
    SelfAttentionStrip,
    Strip,
)
from sfumato.protocols.plain.spec import Condition, Noisy, Plain
from sfumato.version import VERSION
from sfumato.wire.messages import Hello, Message, Refusal, Welcome
from sfumato.worker.catalog import worker_half
from sfumato.worker.sessions import CloudSession

SMALL = {"height": 32, "width": 32, "num_inference_steps": 2, "seed": 1}


def unchecked(kind: type[Message], **values: Any) -> Message:
    """A message as it comes off the wire where types are not checked, as in production."""
    message = object.__new__(kind)
    for f in fields(kind):
        object.__setattr__(message, f.name, values[f.name])
    return message


@dataclass(frozen=True, kw_only=True)
class Stray(Message):
    text: str = "x"


def floats(*shape: int) -> torch.Tensor:
    return torch.zeros(shape)


def conv(rows, path="conv_in", top=1, bottom=0):
    return unchecked(ConvStrip, path=path, rows=rows, pad_top=top, pad_bottom=bottom)


def norm(rows, path="down_blocks.0.resnets.0.norm1"):
    return unchecked(NormStrip, path=path, rows=rows)


def attention(
    query, key, value, path="down_blocks.0.attentions.0.transformer_blocks.0.attn2", kind=CrossAttentionStrip
):
    return unchecked(kind, path=path, query=query, key=key, value=value)


ODD_REQUESTS = {
    "another kind": Stray(),
    "a reply": unchecked(Strip, rows=floats(1, 4, 4, 4)),
    "no such layer": conv(floats(1, 4, 4, 4), path="conv_nowhere"),
    "empty path": conv(floats(1, 4, 4, 4), path=""),
    "a linear layer": conv(floats(1, 4, 4, 4), path="time_embedding.linear_1"),
    "a conv as a norm": norm(floats(1, 4, 4, 4), path="conv_in"),
    "a norm as a conv": conv(floats(1, 32, 4, 4), path="conv_norm_out"),
    "a conv as attention": attention(*[floats(1, 4, 32)] * 3, path="conv_in"),
    "wrong channels": conv(floats(1, 5, 4, 4)),
    "three axes": conv(floats(4, 4, 4)),
    "no axis": conv(torch.tensor(1.0)),
    "empty batch": conv(floats(0, 4, 4, 4)),
    "no rows": conv(floats(1, 4, 0, 4)),
    "one row without padding": conv(floats(1, 4, 1, 4), top=0),
    "negative padding": conv(floats(1, 4, 4, 4), top=-1),
    "much padding": conv(floats(1, 4, 4, 4), bottom=10**9),
    "integers": conv(torch.ones(1, 4, 4, 4, dtype=torch.int64)),
    "booleans": norm(torch.ones(1, 32, 4, 4, dtype=torch.bool)),
    "norm of wrong channels": norm(floats(1, 31, 4, 4)),
    "norm of three axes": norm(floats(32, 4, 4)),
    "norm of nothing": norm(floats(1, 32, 0, 4)),
    "other widths": attention(floats(1, 4, 32), floats(1, 4, 16), floats(1, 4, 16)),
    "another width": attention(*[floats(1, 4, 31)] * 3),
    "keys and values differ": attention(floats(1, 4, 32), floats(1, 5, 32), floats(1, 4, 32)),
    "batches differ": attention(floats(2, 4, 32), floats(1, 5, 32), floats(1, 5, 32)),
    "no keys": attention(floats(1, 4, 32), floats(1, 0, 32), floats(1, 0, 32)),
    "attention of four axes": attention(*[floats(1, 1, 4, 32)] * 3),
    "integer queries": attention(torch.ones(1, 4, 32, dtype=torch.int32), floats(1, 4, 32), floats(1, 4, 32)),
}


@pytest.mark.parametrize("name", ODD_REQUESTS)
def test_layer_split_refuses_what_does_not_fit(tiny_sd, name):
    half = worker_half(LayerSplit(offload=ALL_LAYERS), served(tiny_sd).unet, 0)
    with pytest.raises(WireError):
        half.handle(ODD_REQUESTS[name])


def test_layers_that_the_spec_keeps_are_refused(tiny_sd):
    half = worker_half(LayerSplit(cross_attention="client"), served(tiny_sd).unet, 0)
    with pytest.raises(WireError, match="does not offload"):
        half.handle(attention(*[floats(1, 4, 32)] * 3))
    own = next(path for path, kind, _ in layers_of(served(tiny_sd).unet) if kind == "self_attention")
    with pytest.raises(WireError, match="does not offload"):
        half.handle(attention(*[floats(1, 4, 32)] * 3, path=own, kind=SelfAttentionStrip))


def condition(embeds=None, pooled=None, time_ids=None):
    return unchecked(
        Condition, prompt_embeds=floats(2, 5, 32) if embeds is None else embeds, pooled=pooled, time_ids=time_ids
    )


def noisy(latent, timestep=1.0):
    return unchecked(Noisy, latent=latent, timestep=timestep)


ODD_FOR_PLAIN = {
    "another kind": [Stray()],
    "a latent first": [noisy(floats(1, 4, 8, 8))],
    "another width": [condition(floats(2, 5, 31))],
    "two axes": [condition(floats(5, 32))],
    "no tokens": [condition(floats(2, 0, 32))],
    "token numbers": [condition(torch.ones(2, 5, 32, dtype=torch.int64))],
    "wrong channels": [condition(), noisy(floats(1, 3, 8, 8))],
    "three axes": [condition(), noisy(floats(4, 8, 8))],
    "no latents": [condition(), noisy(floats(0, 4, 8, 8))],
    "too many latents": [condition(), noisy(floats(3, 4, 8, 8))],
    "no rows": [condition(), noisy(floats(1, 4, 0, 8))],
    "integers": [condition(), noisy(torch.ones(1, 4, 8, 8, dtype=torch.int64))],
}


@pytest.mark.parametrize("name", ODD_FOR_PLAIN)
def test_plain_refuses_what_does_not_fit(tiny_sd, name):
    half = worker_half(Plain(), served(tiny_sd).unet, 0)
    *before, last = ODD_FOR_PLAIN[name]
    for request in before:
        half.handle(request)
    with pytest.raises(WireError):
        half.handle(last)


@pytest.mark.parametrize(
    ("pooled", "time_ids"),
    [(None, None), (floats(2, 7), floats(2, 6)), (floats(2, 32), floats(2, 5)), (floats(1, 32), floats(1, 6))],
    ids=["missing", "pooled of another width", "too few sizes", "too few rows"],
)
def test_plain_refuses_odd_conditioning_of_sdxl(tiny_sdxl, pooled, time_ids):
    unet = served(tiny_sdxl).unet
    half = worker_half(Plain(), unet, 0)
    embeds = floats(2, 5, unet.config.cross_attention_dim)
    with pytest.raises(WireError):
        half.handle(condition(embeds, pooled, time_ids))


@pytest.mark.parametrize("spec", [Plain(), LayerSplit(num_clouds=2)], ids=lambda s: s.name)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_clouds_that_serve_half_precision_answer_close_to_the_exact_picture(tiny_sd, tmp_path, spec, dtype):
    from sfumato.client.pipeline import PrivatePipeline
    from sfumato.simulation import InProcessClouds
    from sfumato.worker.sessions import serve_model

    clouds = InProcessClouds(serve_model(tiny_sd, dtype), spec.num_clouds)
    pipe = PrivatePipeline(tiny_sd, spec, clouds, torch_dtype=torch.float32, scheduler="ddim")
    rough = pipe("x", output_type="latent", **SMALL).images
    exact = in_process(tiny_sd, spec)("x", output_type="latent", **SMALL).images
    assert 0 < (rough - exact).abs().mean() < 0.2 * exact.abs().mean()


class TestSessions:
    """One cloud's sessions, each with its own handshake and state."""

    def hello(self, folder, spec=None, **changes) -> Hello:
        spec = spec or Plain()
        return replace(
            Hello(
                package_version=VERSION,
                protocol=spec.name,
                spec_json=spec.to_json(),
                model_fingerprint=served(folder).fingerprint,
                cloud_index=0,
                num_clouds=spec.num_clouds,
            ),
            **changes,
        )

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"package_version": "0.0.9"}, f"it runs sfumato {VERSION}, the client 0.0.9: install the same version"),
            ({"protocol": "homeopathic"}, "no protocol 'homeopathic': choose one of plain, layer-split"),
            ({"protocol": "layer-split"}, "the spec of layer-split was not accepted"),
            ({"spec_json": "{}"}, "the spec of plain was not accepted"),
            ({"cloud_index": 1}, "cloud index 1 is outside the spec's 1 clouds"),
            ({"cloud_index": -1}, "cloud index -1 is outside"),
            ({"num_clouds": 2}, "the client counts 2 clouds and its spec 1"),
            ({"model_fingerprint": "f" * 64}, "it serves another model .*give both sides the same model folder"),
        ],
        ids=str,
    )
    def test_a_hello_that_does_not_fit_is_refused(self, tiny_sd, changes, sentence):
        reply = CloudSession(served(tiny_sd)).handle(self.hello(tiny_sd, **changes))
        assert isinstance(reply, Refusal)
        assert reply.error == "SpecMismatch"
        with pytest.raises(SpecMismatch, match=sentence):
            raise SpecMismatch(reply.sentence)

    def test_nothing_is_answered_before_a_hello_and_no_second_hello_after_it(self, tiny_sd):
        session = CloudSession(served(tiny_sd))
        assert session.kinds == (Hello,)
        assert session.handle(noisy(floats(1, 4, 8, 8))).error == "WireError"
        assert isinstance(session.handle(self.hello(tiny_sd)), Welcome)
        assert session.kinds == (Condition, Noisy)
        assert session.handle(self.hello(tiny_sd)).error == "WireError"

    def test_sessions_with_different_specs_do_not_know_each_other(self, tiny_sd):
        one, two, three = (CloudSession(served(tiny_sd)) for _ in range(3))
        split = LayerSplit(num_clouds=2, offload=frozenset({"norm"}))
        for session, spec in ((one, Plain()), (two, split), (three, Plain())):
            assert isinstance(session.handle(self.hello(tiny_sd, spec)), Welcome)
        embeds = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
        one.handle(condition(embeds))
        assert three.handle(noisy(floats(1, 4, 8, 8))).error == "WireError", "conditioning of another session"
        three.handle(condition(embeds + 1))
        answers = [session.handle(noisy(torch.ones(1, 4, 8, 8))) for session in (one, three, one)]
        assert torch.equal(answers[0].prediction, answers[2].prediction)
        assert not torch.equal(answers[0].prediction, answers[1].prediction)
        assert two.handle(conv(floats(1, 4, 4, 4))).error == "WireError", "a layer of another session's spec"
        assert isinstance(two.handle(norm(floats(1, 32, 4, 4))), Moments)

    def test_an_error_that_nobody_foresaw_says_nothing_of_the_tensor(self, tiny_sd, caplog, monkeypatch):
        session = CloudSession(served(tiny_sd))
        session.handle(self.hello(tiny_sd))

        def explode(request):
            raise RuntimeError(f"secret {request.latent.tolist()}")

        monkeypatch.setattr(session._half, "handle", explode)
        reply = session.handle(noisy(torch.full((1, 4, 8, 8), 0.123456789)))
        assert reply.error == "WorkerError"
        assert "secret" not in reply.sentence + caplog.text
        assert "0.1234" not in reply.sentence + caplog.text
