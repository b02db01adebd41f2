"""A client refuses what a cloud may not answer, and names the cloud."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from recorded import in_process, served
from sfumato.errors import SfumatoError, WireError, WorkerError
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain, Prediction
from sfumato.protocols.replies import is_finite
from sfumato.protocols.strip_split.graph import route_of
from sfumato.protocols.strip_split.spec import Border, Hidden, Meeting, StripSplit, TilePrediction
from sfumato.transport.in_process import InProcessChannel
from sfumato.wire.messages import Message
from sfumato.worker.sessions import CloudSession

SMALL = {"height": 32, "width": 32, "num_inference_steps": 2, "seed": 1}


def unchecked(kind: type[Message], **values: Any) -> Message:
    """A message as it comes off the wire where types are not checked, as in production."""
    message = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(message, name, value)
    return message


class SpoiltClouds:
    """In-process clouds of which one spoils a reply."""

    def __init__(self, folder, num_clouds: int, spoil: Callable[[Message, int], Message], cloud: int):
        self._arguments = folder, num_clouds, spoil, cloud

    def open_channel(self) -> InProcessChannel:
        folder, num_clouds, spoil, cloud = self._arguments
        count = 0

        def spoilt(handle):
            def answer(request):
                nonlocal count
                count += 1
                return spoil(handle(request), count)

            return answer

        handles = [CloudSession(served(folder)).handle for _ in range(num_clouds)]
        handles[cloud] = spoilt(handles[cloud])
        return InProcessChannel(handles)

    def close(self) -> None: ...


def with_tensor(change: Callable[[torch.Tensor], torch.Tensor], at: int):
    """Spoils one tensor of one reply."""

    def spoil(reply: Message, count: int) -> Message:
        names = [f.name for f in fields(reply) if isinstance(getattr(reply, f.name), torch.Tensor)]
        if count != at or not names:
            return reply
        values = {f.name: getattr(reply, f.name) for f in fields(reply)}
        return unchecked(type(reply), **values | {names[-1]: change(values[names[-1]])})

    return spoil


def one_value(number: float):
    def change(tensor):
        tensor = tensor.clone(memory_format=torch.contiguous_format)
        tensor.view(-1)[-1] = number
        return tensor

    return change


SPOILS = {
    "nan": (one_value(float("nan")), WorkerError, "with numbers that are not finite"),
    "inf": (one_value(float("inf")), WorkerError, "with numbers that are not finite"),
    "both infinities": (
        lambda t: one_value(float("-inf"))(t).index_fill_(-1, torch.tensor([0]), float("inf")),
        WorkerError,
        "with numbers that are not finite",
    ),
    "a missing row": (lambda t: t[..., :-1], WireError, "where .* was due: it runs other code or another model"),
    "another batch": (lambda t: torch.cat([t, t]), WireError, "where .* was due"),
    "one value": (lambda t: t.reshape(-1)[0], WireError, "where .* was due"),
    "an axis more": (lambda t: t[None], WireError, "where .* was due"),
    "another format": (lambda t: t.double(), WireError, "float64 where .* was due"),
    "integers": (lambda t: t.long(), WireError, "int64 where .* was due"),
}
ASKING = StripSplit(num_clouds=2, stem="clouds", sampler_borders="asked", wire="fp32")
REPLIES = {
    # Which of the cloud's replies is spoilt: the first conv, norm and attention, or prediction.
    "conv": (LayerSplit(num_clouds=2, offload=frozenset({"conv"})), 2),
    "norm": (LayerSplit(num_clouds=2, offload=frozenset({"norm"})), 2),
    "cross-attention": (LayerSplit(num_clouds=2, offload=frozenset({"cross_attention"})), 2),
    "self-attention": (LayerSplit(num_clouds=2, offload=frozenset({"self_attention"})), 2),
    "prediction": (Plain(), 4),
    "border": (ASKING, 2),
    "hidden": (StripSplit(num_clouds=2, attention="hidden", wire="fp32"), 5),
    "tile's prediction": (ASKING, 36),
}


@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("spoil", SPOILS)
def test_a_reply_that_cannot_be_ends_the_run_and_names_the_cloud(tiny_sd, reply, spoil):
    spec, at = REPLIES[reply]
    change, kind, sentence = SPOILS[spoil]
    pipe = in_process(tiny_sd, spec)
    pipe._clouds = SpoiltClouds(tiny_sd, spec.num_clouds, with_tensor(change, at), spec.num_clouds - 1)
    with pytest.raises(kind, match=f"^cloud-{spec.num_clouds} answered .* {sentence}"):
        pipe("x", **SMALL)


def test_large_sums_are_not_taken_for_infinity(tiny_sd):
    assert is_finite(torch.full((4, 4), 3e38))
    assert is_finite(torch.full((4, 4), 6e4, dtype=torch.float16))
    assert not is_finite(torch.tensor([3e38, 3e38, float("nan")]))


def test_a_cloud_that_answers_another_kind_is_named(tiny_sd):
    pipe = in_process(tiny_sd, Plain())
    answer = Prediction(prediction=torch.zeros(2, 4, 16, 16))
    pipe._clouds = SpoiltClouds(tiny_sd, 1, lambda reply, count: answer if count == 2 else reply, 0)
    with pytest.raises(WireError, match="cloud-1 answered Prediction where Conditioned was due"):
        pipe("x", **SMALL)


def test_after_a_run_that_failed_the_same_pipeline_gives_the_right_picture(tiny_sd):
    pipe = in_process(tiny_sd, LayerSplit(num_clouds=2))
    right = pipe("x", output_type="latent", **SMALL).images
    good = pipe._clouds
    pipe._clouds = SpoiltClouds(tiny_sd, 2, with_tensor(one_value(float("nan")), 20), 1)
    with pytest.raises(SfumatoError):
        pipe("x", **SMALL)
    pipe._clouds = good
    assert torch.equal(right, pipe("x", output_type="latent", **SMALL).images)


BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
DUE = r"where .* was due: it runs other code or another model"
SPOILT_MEETINGS = {
    # Which reply, what of it, and how; with the wire that it takes.
    "another step": (
        "fp16",
        2,
        {"step": lambda n: n + 1},
        WireError,
        "stopped in round 0 of step 1 where round 0 of step 0",
    ),
    "a round late": ("fp16", 3, {"round": lambda n: n - 1}, WireError, "stopped in round 0 of step 0 where round 1"),
    "another layer": (
        "fp16",
        3,
        {"path": lambda _: "conv_out"},
        WireError,
        "where round 1 of step 0 was due",
    ),
    "no statistics": ("fp16", 2, {"statistics": lambda _: None}, WireError, r"resnets\.0\.conv1 without statistics"),
    "statistics of more groups": ("fp16", 2, {"statistics": lambda t: torch.cat([t, t], -1)}, WireError, DUE),
    "rough statistics": ("fp16", 2, {"statistics": lambda t: t.half()}, WireError, "2x1x8 float16 " + DUE),
    "statistics that are no numbers": (
        "fp16",
        2,
        {"statistics": lambda t: t * float("nan")},
        WorkerError,
        "not finite",
    ),
    "an infinite variance": ("fp16", 2, {"statistics": one_value(float("inf"))}, WorkerError, "not finite"),
    "scales of floats": ("fp16", 2, {"scales": lambda _: torch.ones(2, 1, 16).half()}, WireError, "conv1 with scales"),
    "integers without scales": ("int8", 2, {"scales": lambda _: None}, WireError, "conv1 without scales"),
    "scales of more groups": ("int8", 2, {"scales": lambda t: torch.cat([t, t], 1)}, WireError, DUE),
    "wide scales": ("int8", 2, {"scales": lambda t: t.float()}, WireError, DUE),
    "infinite scales": ("int8", 2, {"scales": one_value(float("inf"))}, WorkerError, "not finite"),
    "floats for integers": ("int8", 2, {"values": lambda t: t.half()}, WireError, "float16 " + DUE),
    "its whole tile for its border": ("fp16", 2, {"values": lambda t: t.repeat(1, 1, 2)}, WireError, DUE),
    "hidden states of another width": ("fp16", 4, {"values": lambda t: t[:, 1:]}, WireError, f"{BLOCK} .* {DUE}"),
}


def with_fields(changes: dict[str, Callable[[Any], Any]], at: int):
    """Spoils some fields of one reply."""

    def spoil(reply: Message, count: int) -> Message:
        if count != at:
            return reply
        values = {f.name: getattr(reply, f.name) for f in fields(reply)}
        return unchecked(type(reply), **values | {name: change(values[name]) for name, change in changes.items()})

    return spoil


@pytest.mark.parametrize("name", SPOILT_MEETINGS)
def test_a_meeting_that_cannot_be_ends_the_run_and_names_the_cloud(tiny_sd, name):
    wire, at, changes, kind, sentence = SPOILT_MEETINGS[name]
    pipe = in_process(tiny_sd, replace(ASKING, wire=wire))
    pipe._clouds = SpoiltClouds(tiny_sd, 2, with_fields(changes, at), 1)
    with pytest.raises(kind, match=f"^cloud-2 .*{sentence}"):
        pipe("x", **SMALL)


def test_the_replies_spoilt_above_are_those_that_they_are_called(tiny_sd):
    """Else the rows above would say less than they seem to."""
    route = route_of(served(tiny_sd).unet, ASKING).asked
    assert [p.kind for p in route[:3]] == ["border", "border", "block"]
    assert len(route) == REPLIES["tile's prediction"][1] - 2
    hidden = route_of(served(tiny_sd).unet, StripSplit(attention="hidden")).asked
    assert hidden[REPLIES["hidden"][1] - 2].kind == "self_attention"


@pytest.mark.parametrize(
    ("at", "kind", "due"), [(2, Hidden, "Border"), (4, Border, "Hidden"), (36, Border, "TilePrediction")], ids=str
)
def test_a_cloud_that_comes_to_another_kind_of_place_is_named(tiny_sd, at, kind, due):
    def spoil(reply: Message, count: int) -> Message:
        if count != at:
            return reply
        known = {f.name: getattr(reply, f.name, None) for f in fields(Meeting)}
        return unchecked(kind, **known)

    pipe = in_process(tiny_sd, replace(ASKING, wire="fp16"))
    pipe._clouds = SpoiltClouds(tiny_sd, 2, spoil, 1)
    with pytest.raises(WireError, match=f"^cloud-2 answered {kind.__name__} where {due} was due"):
        pipe("x", **SMALL)


def test_a_cloud_that_ends_its_step_too_soon_is_named(tiny_sd):
    early = TilePrediction(step=0, lane=0, between_bytes=0, prediction=torch.zeros(2, 4, 8, 16))
    pipe = in_process(tiny_sd, replace(ASKING, wire="fp16"))
    pipe._clouds = SpoiltClouds(tiny_sd, 2, lambda reply, count: early if count == 9 else reply, 0)
    with pytest.raises(WireError, match=r"^cloud-1 answered TilePrediction where Border was due"):
        pipe("x", **SMALL)
