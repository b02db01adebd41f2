"""Clouds that meet without the client find what they find through it."""

from dataclasses import replace
from math import log10

import pytest
import torch
import torch.nn.functional as F

from passes import error, random_inputs, split_pass, unsplit_pass
from recorded import served
from sfumato.errors import Unsupported, WireError, WorkerError
from sfumato.protocols.strip_split.edges import _lent
from sfumato.protocols.strip_split.graph import route_of
from sfumato.protocols.strip_split.spec import Begin, Edge, StripSplit
from sfumato.protocols.strip_split.tiling import tiling_of
from sfumato.transport.in_process import InProcessPeers
from sfumato.version import VERSION
from sfumato.wire.messages import Connect, Connected, Hello, Introduction, Welcome
from sfumato.worker.sessions import CloudSession

WAYS = [
    ("tiny_sd", {"num_clouds": 2}, {"num_latents": 3}),
    ("tiny_sd", {"num_clouds": 4, "num_columns": 1}, {"size": (16, 5)}),
    ("tiny_sd", {"num_clouds": 4, "num_columns": 2, "stem": "clouds", "sampler_borders": "asked"}, {"size": (15, 13)}),
    ("tiny_sd", {"num_clouds": 4, "stem": "clouds"}, {"size": (10, 15), "num_latents": 2}),
    ("tiny_sd", {"num_clouds": 3, "sampler_borders": "asked"}, {"size": (11, 7), "guided": False}),
    ("tiny_sd", {"num_clouds": 3, "cross_attention": "cloud"}, {"size": (13, 11)}),
    ("tiny_sd", {"num_clouds": 3, "attention": "hidden"}, {"size": (11, 12)}),
    ("tiny_sd", {"num_clouds": 4, "attention": "qkv", "num_columns": 2}, {"size": (9, 9)}),
    ("tiny_sd", {"num_clouds": 4, "cfg_clouds": "separate"}, {"size": (14, 10), "num_latents": 2}),
    ("tiny_sd", {"num_clouds": 9, "num_columns": 3}, {"size": (9, 12)}),
    ("tiny_sd", {"num_clouds": 4, "overlap": "halves"}, {"num_latents": 2}),
    ("tiny_sd", {"num_clouds": 2, "overlap": "halves", "attention": "qkv", "cross_attention": "cloud"}, {}),
    ("tiny_sdxl", {"num_clouds": 2, "overlap": "halves", "cross_attention": "cloud"}, {"num_latents": 2}),
    ("tiny_sdxl", {"num_clouds": 4}, {"size": (10, 9)}),
    ("tiny_sdxl", {"num_clouds": 3, "stem": "clouds", "sampler_borders": "asked"}, {}),
    ("tiny_sdxl", {"num_clouds": 8, "attention": "hidden", "cfg_clouds": "separate"}, {"size": (9, 8)}),
]
IDS = [f"{model}-{'-'.join(map(str, s.values()))}-{'-'.join(map(str, i.values()))}" for model, s, i in WAYS]


@pytest.mark.parametrize(("model", "settings", "inputs"), WAYS, ids=IDS)
def test_every_variant_equals_the_unsplit_unet_and_to_the_bit_that_with_borders_through_the_client(
    request, model, settings, inputs
):
    folder = request.getfixturevalue(model)
    latent, text = random_inputs(folder, **inputs)
    direct, through = (
        split_pass(folder, StripSplit(wire="fp32", borders=borders, **settings), latent, text)
        for borders in ("direct", "client")
    )
    assert error(direct, unsplit_pass(folder, latent, text)) <= 1e-4
    assert torch.equal(direct, through)


@pytest.mark.parametrize("attention", ["fused", "qkv"])
def test_narrow_number_formats_are_close_and_different_and_borders_are_rounded_once(tiny_sd, attention):
    """Through the client integers are rounded on the way up and again on the way down; to 16 bits it is once anyway."""
    latent, text = random_inputs(tiny_sd, size=(15, 13))
    whole = unsplit_pass(tiny_sd, latent, text)
    for wire, most in (("fp16", 5e-3), ("int8", 0.1)):
        direct, through = (
            split_pass(tiny_sd, StripSplit(num_clouds=4, attention=attention, wire=wire, borders=b), latent, text)
            for b in ("direct", "client")
        )
        assert 1e-6 < error(direct, whole) < most
        assert torch.equal(direct, through) == (wire == "fp16")


@pytest.mark.parametrize("settings", [{"attention": "hidden"}, {"stem": "clouds", "overlap": "halves"}], ids=str)
def test_attention_used_again_and_borders_sent_directly(tiny_sd, settings):
    """With the same latent every time, what a step uses again is what it would find."""
    latent, text = random_inputs(tiny_sd, size=(12, 10))
    spec = StripSplit(num_clouds=2, wire="fp32", borders="direct", attention_every=2, **settings)
    ours = split_pass(tiny_sd, spec, latent, text, num_steps=6)
    assert error(ours, unsplit_pass(tiny_sd, latent, text)) <= 1e-4


def test_differences_in_four_bits_are_close(tiny_sdxl):
    latent, text = random_inputs(tiny_sdxl)
    spec = StripSplit(num_clouds=2, wire="int8", differences="int4", borders="direct")
    ours = split_pass(tiny_sdxl, spec, latent, text, num_steps=3)
    assert 1e-6 < error(ours, unsplit_pass(tiny_sdxl, latent, text)) < 0.1


def test_a_pass_on_portraits_is_the_same_to_100_db_and_to_what_the_wire_allows(portraits):
    latent, text = random_inputs(portraits, size=(32, 32))
    whole = unsplit_pass(portraits, latent, text)
    reached = {}
    for wire in ("fp32", "fp16", "int8"):
        ours = split_pass(portraits, StripSplit(num_clouds=4, wire=wire, borders="direct"), latent, text)
        mean_square = (ours - whole).square().mean()
        reached[wire] = 10 * log10((whole.max() - whole.min()) ** 2 / mean_square)
    assert reached["fp32"] >= 100 > reached["fp16"] >= 70 > reached["int8"] >= 40


class TestWhatCloudsAreSent:
    @pytest.mark.parametrize(
        ("settings", "size"),
        [({"num_clouds": 4, "num_columns": 2}, (15, 13)), ({"num_clouds": 3, "num_columns": 1}, (16, 9))],
        ids=["quadrants", "strips"],
    )
    def test_the_client_is_asked_for_attention_only_and_clouds_are_sent_the_line_around_their_tile(
        self, tiny_sd, settings, size
    ):
        spec = StripSplit(wire="fp32", borders="direct", sampler_borders="asked", **settings)
        seen: list[tuple[int, int, Edge]] = []
        asked: list[str] = []

        def note(giver, taker, edge):
            seen.append((giver, taker, edge))
            return edge

        def watch(_, handle):
            return lambda message: (asked.append(type(message).__name__), handle(message))[1]

        split_pass(tiny_sd, spec, *random_inputs(tiny_sd, size=size), watch, tamper=note)
        assert set(asked) == {"Hello", "Introduction", "Connect", "Begin", "Attended"}
        route = route_of(served(tiny_sd).unet, spec)
        places = {place.path: place for place in route.direct}
        tiling = tiling_of(spec.num_tiles, spec.num_columns, *size, 3)
        assert {edge.path for _, _, edge in seen} == set(places)
        for giver, taker, edge in seen:
            place = places[edge.path]
            own, others = (tile.mask(*tiling.size(place.level)) for tile in at(tiling, place.level, giver, taker))
            around = F.max_pool2d(others[None].float(), 3, 1, 1)[0].bool() & ~others
            assert edge.values.shape[1:] == (place.channels, int((own & around).sum()))
            assert (edge.statistics is not None) == (place.num_groups > 0)
            if edge.statistics is not None:
                assert edge.statistics.shape == (2, edge.values.shape[0], place.num_groups)

    @pytest.mark.parametrize(("columns", "size"), [(1, (16, 5)), (2, (15, 13)), (4, (8, 19))])
    @pytest.mark.parametrize("level", [0, 1, 2])
    def test_what_is_lent_is_laid_where_it_lies(self, columns, size, level):
        tiling = tiling_of(4, columns, *size, 3)
        height, width = tiling.size(level)
        places = torch.arange(height * width).reshape(height, width)
        for taker in range(4):
            ring = tiling.halos(level, "conv")[taker].ring_in_map
            laid = torch.full((len(ring),), -1)
            for giver in set(range(4)) - {taker}:
                lent = _lent(tiling, level, giver, taker)
                laid[lent.taken] = places[tiling.tiles(level)[giver].slices].flatten()[lent.given]
            assert torch.equal(laid, ring)


def at(tiling, level, *tiles):
    return [tiling.tiles(level)[tile] for tile in tiles]


def spoilt(change, *, giver=1, taker=0, number=3):
    """Changes what one cloud sends another in one exchange."""

    def tamper(own, to, edge):
        return change(edge) if (own, to, edge.round) == (giver, taker, number) else edge

    return tamper


def with_first(tensor, value):
    changed = tensor.clone()
    changed.view(-1)[0] = value
    return changed


SPOILT = {
    "not a number": (lambda e: replace(e, values=with_first(e.values, float("nan"))), WorkerError, "not finite"),
    "no end": (lambda e: replace(e, statistics=with_first(e.statistics, float("inf"))), WorkerError, "not finite"),
    "too few cells": (lambda e: replace(e, values=e.values[:, :, :1]), WireError, "with 2x64x1 float32 where"),
    "another format": (lambda e: replace(e, values=e.values.half()), WireError, "float16 where .* float32 was due"),
    "no statistics": (lambda e: replace(e, statistics=None), WireError, "came to .* without statistics"),
    "scales": (lambda e: replace(e, scales=e.values), WireError, "came to .* with scales"),
    "another step": (
        lambda e: replace(e, step=e.step + 1),
        WireError,
        "belongs to exchange 3 of step 1 where exchange 3",
    ),
    "another exchange": (lambda e: replace(e, round=9), WireError, "belongs to exchange 9 of step 0 where exchange 3"),
    "another lane": (lambda e: replace(e, lane=1), WireError, "runs other code or another model"),
    "another place": (lambda e: replace(e, path="elsewhere"), WireError, "runs other code or another model"),
    "another kind": (lambda e: Connected(), WireError, "sent a Connected, which does not belong here"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_does_not_fit_ends_the_run_with_a_sentence_that_names_the_cloud(tiny_sd, name):
    change, kind, sentence = SPOILT[name]
    spec = StripSplit(num_clouds=2, wire="fp32", borders="direct")
    with pytest.raises(kind, match=rf"^cloud-1: cloud-2 .*{sentence}"):
        split_pass(tiny_sd, spec, *random_inputs(tiny_sd), tamper=spoilt(change))


def test_a_cloud_that_fails_is_named_and_not_those_that_wait_for_it(tiny_sd):
    spec = StripSplit(num_clouds=3, wire="fp32", borders="direct")

    def fail(giver, _, edge):
        if giver == 2 and edge.round == 4:
            raise WorkerError("it has had enough")
        return edge

    with pytest.raises(WorkerError, match=r"^cloud-3: it has had enough"):
        split_pass(tiny_sd, spec, *random_inputs(tiny_sd), tamper=fail)


def test_a_recording_of_clouds_that_meet_is_refused_and_nothing_is_sent(tiny_sd, tmp_path):
    spec = StripSplit(num_clouds=2, borders="direct")
    with pytest.raises(Unsupported, match="record with borders=client"):
        split_pass(
            tiny_sd,
            spec,
            *random_inputs(tiny_sd),
            lambda *_: lambda _: pytest.fail("something was sent"),
            recorded_to=tmp_path / "run",
        )


class TestIntroductions:
    @pytest.fixture
    def session(self, tiny_sd):
        session = CloudSession(served(tiny_sd), peers=InProcessPeers.of_all(3)[1])
        assert isinstance(session.handle(hello(served(tiny_sd).fingerprint)), Welcome)
        return session

    def test_come_before_anything_else(self, session):
        assert session.kinds == (Introduction,)
        assert session.handle(Connect()).error == "WireError"
        session.handle(INTRODUCTION)
        assert session.kinds == (Connect,)
        session.handle(Connect())
        assert Begin in session.kinds

    @pytest.mark.parametrize(
        "changes",
        [
            {"clouds": (0,), "hosts": ("h",), "ports": (1,), "secrets": ("s",)},
            {"clouds": (0, 1)},
            {"clouds": (0, 7)},
            {"clouds": (0, 0)},
            {"clouds": (2, 0)},
            {"clouds": (0, 2, 3), "hosts": ("h",) * 3, "ports": (1,) * 3, "secrets": ("s",) * 3},
            {"hosts": ("h",)},
            {"secrets": ()},
        ],
        ids=str,
    )
    def test_name_the_clouds_of_the_spec_and_no_others(self, session, changes):
        reply = session.handle(replace(INTRODUCTION, **changes))
        assert reply.sentence == "an introduction names other clouds than those that the spec lets this one meet"

    def test_need_a_way_to_meet(self, tiny_sd):
        reply = CloudSession(served(tiny_sd)).handle(hello(served(tiny_sd).fingerprint))
        assert (reply.error, reply.sentence[:32]) == ("Unsupported", "it has no way to meet other clou")


INTRODUCTION = Introduction(run="r", clouds=(0, 2), hosts=("h", "i"), ports=(1, 2), secrets=("s", "t"))


def hello(fingerprint):
    spec = StripSplit(num_clouds=3, borders="direct")
    return Hello(
        package_version=VERSION,
        protocol=spec.name,
        spec_json=spec.to_json(),
        model_fingerprint=fingerprint,
        cloud_index=1,
        num_clouds=3,
    )
