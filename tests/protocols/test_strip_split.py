"""One pass of strip-split equals one pass of the unsplit U-Net."""

from math import log10

import pytest

from passes import error, random_inputs, split_pass, unsplit_pass
from recorded import in_process, served
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.strip_split.graph import route_of
from sfumato.protocols.strip_split.spec import Meeting, StripSplit
from sfumato.wire.codec import encoded_size

EXACT = [
    ("tiny_sd", {"num_clouds": 1}, {}),
    ("tiny_sd", {"num_clouds": 2}, {"num_latents": 3}),
    ("tiny_sd", {"num_clouds": 4, "num_columns": 1}, {"size": (16, 5)}),
    ("tiny_sd", {"num_clouds": 4, "stem": "clouds", "sampler_borders": "asked"}, {}),
    ("tiny_sd", {"num_clouds": 4, "stem": "clouds"}, {"size": (10, 15), "num_latents": 2}),
    ("tiny_sd", {"num_clouds": 3, "sampler_borders": "asked"}, {"size": (11, 7)}),
    ("tiny_sd", {"num_clouds": 3, "cross_attention": "cloud"}, {"size": (13, 11)}),
    ("tiny_sd", {"num_clouds": 3, "attention": "hidden"}, {"size": (11, 12), "guided": False}),
    ("tiny_sd", {"num_clouds": 2, "attention": "hidden", "cross_attention": "cloud"}, {"size": (9, 9)}),
    ("tiny_sd", {"num_clouds": 4, "attention": "qkv", "num_columns": 2}, {"size": (15, 13)}),
    ("tiny_sd", {"num_clouds": 2, "attention": "qkv", "cross_attention": "cloud"}, {"guided": False}),
    ("tiny_sd", {"num_clouds": 4, "cfg_clouds": "separate"}, {"size": (14, 10), "num_latents": 2}),
    ("tiny_sd", {"num_clouds": 2, "cfg_clouds": "separate", "cross_attention": "cloud"}, {}),
    ("tiny_sd", {"num_clouds": 9, "num_columns": 3}, {"size": (9, 12)}),
    ("tiny_sd", {"num_clouds": 3, "num_columns": 3, "attention": "hidden"}, {"size": (1, 12)}),
    ("tiny_sd", {"num_clouds": 4, "overlap": "halves"}, {"num_latents": 2}),
    ("tiny_sd", {"num_clouds": 2, "overlap": "halves", "stem": "clouds"}, {"guided": False}),
    ("tiny_sd", {"num_clouds": 2, "overlap": "halves", "attention": "qkv"}, {}),
    ("tiny_sdxl", {"num_clouds": 2, "overlap": "halves", "cross_attention": "cloud"}, {"num_latents": 2}),
    ("tiny_sdxl", {"num_clouds": 2}, {"size": (10, 7)}),
    ("tiny_sdxl", {"num_clouds": 3, "stem": "clouds", "sampler_borders": "asked", "cfg_clouds": "shared"}, {}),
    ("tiny_sdxl", {"num_clouds": 4, "num_columns": 2, "cross_attention": "cloud"}, {"num_latents": 2}),
    ("tiny_sdxl", {"num_clouds": 3, "attention": "hidden"}, {"size": (12, 9)}),
    ("tiny_sdxl", {"num_clouds": 4, "attention": "qkv", "cfg_clouds": "separate"}, {"size": (9, 8)}),
    ("tiny_sdxl", {"num_clouds": 2, "attention": "qkv", "cross_attention": "cloud"}, {"guided": False}),
]


@pytest.mark.parametrize(
    ("model", "settings", "inputs"),
    EXACT,
    ids=[f"{model}-{'-'.join(map(str, s.values()))}-{'-'.join(map(str, i.values()))}" for model, s, i in EXACT],
)
def test_every_variant_equals_the_unsplit_unet(request, model, settings, inputs):
    folder = request.getfixturevalue(model)
    latent, text = random_inputs(folder, **inputs)
    ours = split_pass(folder, StripSplit(wire="fp32", **settings), latent, text)
    assert error(ours, unsplit_pass(folder, latent, text)) <= 1e-4


def test_the_second_step_equals_it_too_although_the_text_is_told_once(tiny_sdxl):
    latent, text = random_inputs(tiny_sdxl)
    spec = StripSplit(num_clouds=2, wire="fp32", cross_attention="cloud")
    assert error(split_pass(tiny_sdxl, spec, latent, text, num_steps=2), unsplit_pass(tiny_sdxl, latent, text)) <= 1e-4


@pytest.mark.parametrize("model", ["tiny_sd", "tiny_sdxl"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"attention": "hidden"}, {"stem": "clouds", "overlap": "halves"}, {"cfg_clouds": "separate"}],
    ids=str,
)
def test_attention_used_again_is_exact_where_nothing_changes(request, model, settings):
    """Steps 4 and 6 compute attention; 5 is given the same latent, so that what it uses again is what it would find."""
    folder = request.getfixturevalue(model)
    latent, text = random_inputs(folder, size=(12, 10))
    spec = StripSplit(num_clouds=2, wire="fp32", attention_every=2, **settings)
    kinds: list[str] = []

    def watch(cloud, handle):
        return lambda message: (kinds.append(type(message).__name__), handle(message))[1]

    ours = split_pass(folder, spec, latent, text, watch, num_steps=6)
    assert error(ours, unsplit_pass(folder, latent, text)) <= 1e-4
    steps = " ".join(kinds).split("Begin")[1:]
    last_begun = steps[spec.num_lanes * spec.num_clouds - 1 :: spec.num_lanes * spec.num_clouds]
    assert ["Attended" in step for step in last_begun] == [True] * 5 + [False]


def test_differences_in_four_bits_are_close_and_send_less(tiny_sd):
    latent, text = random_inputs(tiny_sd)
    sent = {}

    def counted(name):
        def watch(_, handle):
            def answer(message):
                sent[name] = sent.get(name, 0) + encoded_size(message)
                return handle(message)

            return answer

        return watch

    whole = unsplit_pass(tiny_sd, latent, text)
    for name, settings in {"int8": {}, "int4": {"differences": "int4"}}.items():
        spec = StripSplit(num_clouds=4, wire="int8", **settings)
        found = split_pass(tiny_sd, spec, latent, text, counted(name), num_steps=3)
        assert 1e-6 < error(found, whole) < 0.1
    assert sent["int4"] < 0.95 * sent["int8"]


@pytest.mark.parametrize(("wire", "most"), [("fp16", 5e-3), ("int8", 0.1)])
@pytest.mark.parametrize("settings", [{}, {"attention": "qkv"}, {"num_columns": 2, "attention": "hidden"}], ids=str)
def test_narrow_number_formats_are_close_and_different(tiny_sd, wire, most, settings):
    latent, text = random_inputs(tiny_sd)
    ours = split_pass(tiny_sd, StripSplit(num_clouds=4, wire=wire, **settings), latent, text)
    assert 1e-6 < error(ours, unsplit_pass(tiny_sd, latent, text)) < most


def test_a_pass_on_portraits_is_the_same_to_100_db_and_to_what_the_wire_allows(portraits):
    latent, text = random_inputs(portraits, size=(32, 32))
    whole = unsplit_pass(portraits, latent, text)
    reached = {}
    for wire in ("fp32", "fp16", "int8"):
        ours = split_pass(portraits, StripSplit(num_clouds=4, wire=wire), latent, text)
        mean_square = (ours - whole).square().mean()
        reached[wire] = 10 * log10((whole.max() - whole.min()) ** 2 / mean_square)
    assert reached["fp32"] >= 100 > reached["fp16"] >= 70 > reached["int8"] >= 40


@pytest.mark.parametrize("settings", [{"num_clouds": 3}, {"num_clouds": 2, "num_columns": 2, "attention": "qkv"}])
def test_whole_pictures_equal_those_of_plain(tiny_sd, settings):
    arguments = {"num_inference_steps": 3, "seed": 3, "height": 36, "width": 20, "output_type": "latent"}
    spec = StripSplit(wire="fp32", **settings)
    ours, theirs = (in_process(tiny_sd, s)("a red hat", **arguments).images for s in (spec, Plain()))
    assert error(ours, theirs) <= 1e-4


@pytest.mark.parametrize("model", ["tiny_sd", "tiny_sdxl"])
@pytest.mark.parametrize("attention", ["fused", "hidden", "qkv"])
@pytest.mark.parametrize("cross_attention", ["client", "cloud"])
def test_places_are_where_a_cloud_really_stops(request, model, attention, cross_attention):
    folder = request.getfixturevalue(model)
    spec = StripSplit(num_clouds=1, attention=attention, cross_attention=cross_attention)
    stops: list[tuple[str, bool]] = []

    def watch(_, handle):
        def answer(message):
            reply = handle(message)
            if isinstance(reply, Meeting):
                assert reply.round == len(stops)
                stops.append((reply.path, reply.statistics is not None))
            return reply

        return answer

    split_pass(folder, spec, *random_inputs(folder, size=(4, 4)), watch)
    assert stops == [(place.path, place.num_groups > 0) for place in route_of(served(folder).unet, spec).asked]


def test_separate_halves_need_guidance_and_no_cloud_is_contacted(tiny_sd, monkeypatch):
    pipe = in_process(tiny_sd, StripSplit(num_clouds=2, cfg_clouds="separate"))
    monkeypatch.setattr(pipe._clouds, "open_channel", lambda: pytest.fail("a cloud was contacted"))
    with pytest.raises(ValueError, match="cfg_clouds=separate needs a guidance_scale above 1"):
        pipe("x", guidance_scale=1.0, num_inference_steps=1, height=16, width=16)
