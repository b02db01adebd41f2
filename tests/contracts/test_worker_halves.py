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
from sfumato.protocols.plain.spec import Noisy, Plain
from sfumato.protocols.readable import Condition
from sfumato.protocols.strip_split.spec import Attended, Begin, Border, Hidden, StripSplit, Surroundings, TilePrediction
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


def begin(**changes):
    """A step on the upper half of an 8 x 8 latent, with one row of border below it."""
    values = {
        "step": 0,
        "lane": 0,
        "timestep": 1.0,
        "height": 8,
        "width": 8,
        "repeats": 2,
        "latent": floats(1, 4, 5, 8),
    }
    nothing = dict.fromkeys(("statistics", "values", "scales", "prompt_embeds", "pooled", "time_ids"))
    return unchecked(Begin, **values | nothing | changes)


def asking(**settings) -> StripSplit:
    """A spec under which a cloud asks at every place, from the first on, for one half where both are the same."""
    return StripSplit(stem="clouds", sampler_borders="asked", **{"num_clouds": 2, "wire": "fp32"} | settings)


def answer(kind=Surroundings, **changes):
    """What the cloud waits for in its first round: the row below its tile, and the statistics of the whole map."""
    values = {"step": 0, "lane": 0, "round": 0, "path": "down_blocks.0.resnets.0.conv1", "statistics": floats(2, 1, 8)}
    if kind is Attended:
        values |= dict.fromkeys(("means", "around", "around_scales"))
    return unchecked(kind, **values | {"values": floats(1, 32, 8), "scales": None} | changes)


ODD_BEGINNINGS = {
    "another kind": Stray(),
    "a reply": unchecked(TilePrediction, step=0, lane=0, between_bytes=0, prediction=floats(1, 4, 4, 8)),
    "wrong channels": begin(latent=floats(1, 3, 5, 8)),
    "its tile without the border": begin(latent=floats(1, 4, 4, 8)),
    "the whole latent": begin(latent=floats(1, 4, 8, 8)),
    "another width": begin(latent=floats(1, 4, 5, 9)),
    "three axes": begin(latent=floats(4, 5, 8)),
    "no axis": begin(latent=torch.tensor(1.0)),
    "no latents": begin(latent=floats(0, 4, 5, 8)),
    "another float": begin(latent=floats(1, 4, 5, 8).half()),
    "integers": begin(latent=torch.ones(1, 4, 5, 8, dtype=torch.int64)),
    "three halves": begin(repeats=3),
    "another lane": begin(lane=1),
    "a lane before the first": begin(lane=-1),
    "no half": begin(repeats=0),
    "a negative height": begin(height=-8),
    "no height": begin(height=0, latent=floats(1, 4, 0, 8)),
    "no width": begin(width=0, latent=floats(1, 4, 5, 0)),
    "a height below the clouds": begin(height=4, latent=floats(1, 4, 3, 8)),
    "a height that no memory holds": begin(height=2**40, width=2**40),
    "text where none is due": begin(prompt_embeds=floats(2, 5, 32)),
    "pooled text where none is due": begin(pooled=floats(2, 32), time_ids=floats(2, 6)),
    "an answer before the question": answer(),
    "attention before the question": answer(Attended),
}


@pytest.mark.parametrize("name", ODD_BEGINNINGS)
def test_strip_split_refuses_to_begin_with_what_does_not_fit(tiny_sd, name):
    half = worker_half(asking(num_clouds=3 if "below" in name else 2), served(tiny_sd).unet, 0)
    with pytest.raises(WireError):
        half.handle(ODD_BEGINNINGS[name])


def first_answers(**changes):
    """A beginning with the answers at the first places: two residual convolutions and the attention before a sampler.

    Of 32 channels in 8 groups; the tile has 4 rows of 8 cells, and one row below it.
    """
    values = {"statistics": floats(3 * 2 * 8), "values": floats(2 * 32 * 8 + 2 * 32 * (32 + 8) + 32 * 8)}
    return begin(**values | changes)


ODD_FIRST_ANSWERS = {
    "nothing": begin(),
    "no statistics": first_answers(statistics=None),
    "a statistic too few": first_answers(statistics=floats(3 * 2 * 8 - 1)),
    "integer statistics": first_answers(statistics=torch.ones(3 * 2 * 8, dtype=torch.int64)),
    "no cells": first_answers(values=None),
    "a value too few": first_answers(values=floats(2 * 32 * 8 + 2 * 32 * (32 + 8) + 32 * 8 - 1)),
    "a value too many": first_answers(values=floats(2 * 32 * 8 + 2 * 32 * (32 + 8) + 32 * 8 + 1)),
    "cells of two axes": first_answers(values=floats(1, 2 * 32 * 8 + 2 * 32 * (32 + 8) + 32 * 8)),
    "another float": first_answers(values=floats(2 * 32 * 8 + 2 * 32 * (32 + 8) + 32 * 8).half()),
    "scales where none are due": first_answers(scales=floats(8).half()),
}


@pytest.mark.parametrize("name", ODD_FIRST_ANSWERS)
def test_strip_split_refuses_first_answers_that_do_not_fit(tiny_sd, name):
    half = worker_half(StripSplit(num_clouds=2, wire="fp32"), served(tiny_sd).unet, 0)
    with pytest.raises(WireError):
        half.handle(ODD_FIRST_ANSWERS[name])


def test_strip_split_goes_on_behind_its_first_answers(tiny_sd):
    half = worker_half(StripSplit(num_clouds=2, wire="fp32"), served(tiny_sd).unet, 0)
    asked = half.handle(first_answers())
    assert (asked.round, asked.path) == (0, "down_blocks.1.resnets.0.conv1"), "the sampler in front had all it needs"


def test_first_answers_are_refused_where_the_clouds_compute_so_far(tiny_sd):
    with pytest.raises(WireError, match="where none was due"):
        worker_half(asking(), served(tiny_sd).unet, 0).handle(first_answers())


ODD_ANSWERS = {
    "another kind": ("fp32", answer(Attended)),
    "a cloud's own message": ("fp32", answer(Border)),
    "another layer": ("fp32", answer(path="down_blocks.0.resnets.0.conv2")),
    "no layer": ("fp32", answer(path="")),
    "a later round": ("fp32", answer(round=1)),
    "a round before": ("fp32", answer(round=-1)),
    "another step": ("fp32", answer(step=1)),
    "another lane": ("fp32", answer(lane=1)),
    "no lane": ("fp32", answer(lane=-1)),
    "a row too many": ("fp32", answer(values=floats(1, 32, 16))),
    "no cells": ("fp32", answer(values=floats(1, 32, 0))),
    "wrong channels": ("fp32", answer(values=floats(1, 31, 8))),
    "both halves": ("fp32", answer(values=floats(2, 32, 8))),
    "four axes": ("fp32", answer(values=floats(1, 32, 1, 8))),
    "no axis": ("fp32", answer(values=torch.tensor(1.0))),
    "another float": ("fp32", answer(values=floats(1, 32, 8).half())),
    "integers for floats": ("fp32", answer(values=torch.ones(1, 32, 8, dtype=torch.int8))),
    "scales where none are due": ("fp32", answer(scales=floats(1, 1, 8).half())),
    "no statistics": ("fp32", answer(statistics=None)),
    "statistics of fewer groups": ("fp32", answer(statistics=floats(2, 1, 7))),
    "statistics of both halves": ("fp32", answer(statistics=floats(2, 2, 8))),
    "means alone": ("fp32", answer(statistics=floats(1, 1, 8))),
    "integer statistics": ("fp32", answer(statistics=torch.ones(2, 1, 8, dtype=torch.int64))),
    "floats for integers": ("int8", answer(scales=floats(1, 1, 8).half())),
    "no scales": ("int8", answer(values=torch.ones(1, 32, 8, dtype=torch.int8))),
    "wide scales": ("int8", answer(values=torch.ones(1, 32, 8, dtype=torch.int8), scales=floats(1, 1, 8))),
    "scales of fewer cells": (
        "int8",
        answer(values=torch.ones(1, 32, 8, dtype=torch.int8), scales=floats(1, 1, 7).half()),
    ),
}


def begun(folder, wire="fp32"):
    """A worker half that waits at its first place."""
    half = worker_half(asking(wire=wire), served(folder).unet, 0)
    assert isinstance(half.handle(begin()), Border)
    return half


@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_strip_split_refuses_an_answer_that_does_not_fit(tiny_sd, name):
    wire, odd = ODD_ANSWERS[name]
    with pytest.raises(WireError):
        begun(tiny_sd, wire).handle(odd)


def test_strip_split_takes_the_answer_that_fits_once_and_statistics_only_where_there_is_a_norm(tiny_sd):
    """The control: only what was changed above is why it was refused."""
    half = begun(tiny_sd)
    second = half.handle(answer())
    assert (second.round, second.path) == (1, "down_blocks.0.resnets.0.conv2")
    with pytest.raises(WireError, match="out of step"):
        half.handle(answer())
    third = half.handle(answer(round=1, path=second.path))
    assert isinstance(third, Hidden)
    fourth = half.handle(answer(Attended, round=2, path=third.path, values=floats(2, 32, 32)))
    assert (fourth.path, fourth.statistics) == ("down_blocks.0.downsamplers.0", None)
    with pytest.raises(WireError, match="where none was due"):
        half.handle(answer(round=3, path=fourth.path, values=floats(2, 32, 8)))


def test_strip_split_goes_on_with_a_step_that_failed_only_from_its_beginning(tiny_sd):
    half = begun(tiny_sd)
    with pytest.raises(WireError, match="does not fit"):
        half.handle(answer(values=floats(1, 32, 7)))
    with pytest.raises(WireError, match="does not wait for"):
        half.handle(answer())
    assert isinstance(half.handle(begin(step=1)), Border)
    assert half.handle(answer(step=1)).round == 1


TEXTS_OF_SDXL = {"prompt_embeds": floats(2, 5, 64), "pooled": floats(2, 32), "time_ids": floats(2, 6)}


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_embeds": None},
        {"pooled": None},
        {"time_ids": None},
        dict.fromkeys(TEXTS_OF_SDXL),
        {"prompt_embeds": floats(2, 5, 63)},
        {"prompt_embeds": floats(1, 5, 64)},
        {"prompt_embeds": floats(2, 0, 64)},
        {"prompt_embeds": torch.ones(2, 5, 64, dtype=torch.int64)},
        {"pooled": floats(2, 31)},
        {"pooled": floats(1, 32)},
        {"time_ids": floats(2, 5)},
    ],
    ids=lambda changes: ", ".join(f"{k} {v is not None and tuple(v.shape)}" for k, v in changes.items()),
)
def test_strip_split_refuses_odd_conditioning_of_sdxl(tiny_sdxl, changes):
    half = worker_half(asking(cross_attention="cloud"), served(tiny_sdxl).unet, 0)
    with pytest.raises(WireError):
        half.handle(begin(**TEXTS_OF_SDXL | changes))


def test_strip_split_keeps_the_text_from_step_to_step_but_not_for_another_number_of_pictures(tiny_sdxl):
    half = worker_half(asking(cross_attention="cloud"), served(tiny_sdxl).unet, 0)
    assert isinstance(half.handle(begin(**TEXTS_OF_SDXL)), Border)
    assert isinstance(half.handle(begin(step=1)), Border)
    with pytest.raises(WireError, match="for another number of pictures"):
        half.handle(begin(step=2, repeats=1))


@pytest.mark.parametrize("spec", [Plain(), LayerSplit(num_clouds=2), StripSplit(num_clouds=2)], ids=lambda s: s.name)
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
