"""What every protocol must do: one table of rows, one body a promise. A new protocol is a new row."""

import json
import pkgutil
from dataclasses import fields
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image

from recorded import ALL_LAYERS, in_process
from sfumato.errors import SpecMismatch
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.prompt_set.spec import PromptSet
from sfumato.protocols.settings import parse_spec, settings_of
from sfumato.protocols.specs import SPECS
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.wire.messages import Message
from sfumato.worker.catalog import worker_half

ROWS = [
    ("tiny_sd", Plain()),
    ("tiny_sdxl", Plain(wire_dtype="fp16")),
    ("tiny_sd", LayerSplit(num_clouds=2)),
    ("tiny_sd", LayerSplit(num_clouds=3, offload=ALL_LAYERS, merge="paper", cross_attention="client")),
    ("tiny_sdxl", LayerSplit(num_clouds=2, offload=ALL_LAYERS, wire_dtype="bf16")),
    ("tiny_sd", StripSplit(num_clouds=2)),
    ("tiny_sdxl", StripSplit(num_clouds=2, num_columns=2, attention="qkv", cross_attention="cloud", wire="int8")),
    ("tiny_sd", PromptSet(server_steps="1-1-1", on_no_attribute="plain", wire_dtype="fp32", reuse_maps=True)),
    ("tiny_sdxl", PromptSet(server_steps="1-1-1", on_no_attribute="plain", reuse_maps=False)),
    ("tiny_sd", StripSplit(num_clouds=4, borders="direct", wire="fp32")),
    ("tiny_sd", Homomorphic()),
    ("tiny_sdxl", Homomorphic(parameters="compact")),
    ("tiny_sd", Homomorphic(denoise_with="strip-split", num_clouds=3)),
]
BY_PROTOCOL = [(name, kind) for name, kind in SPECS.items()]
SMALL = {"height": 32, "width": 32, "num_inference_steps": 2}
ENCRYPTION = [
    *("ciphertexts", "decrypted_values_returned", "fraction_public", "index_set_public", "parameters"),
    *("predictions_public", "prompt_in_clear", "unet_input_public"),
]


def label(row) -> str:
    model, spec = row
    return f"{model}-{spec.name}-{spec.num_clouds}-{wire_of(spec)}"


def wire_of(spec) -> str:
    """Its number format; ciphertexts lose nothing that a picture would show."""
    match spec:
        case StripSplit():
            return spec.wire
        case Homomorphic(denoise_with="strip-split"):
            return StripSplit().wire
        case Homomorphic():
            return "fp32"
    return spec.wire_dtype


@pytest.fixture(scope="module", params=ROWS, ids=label)
def pipe(request):
    model, spec = request.param
    return in_process(request.getfixturevalue(model), spec)


def latents(pipe, prompt="a red hat", **arguments):
    return pipe(prompt, **SMALL | {"output_type": "latent"} | arguments).images


def test_every_protocol_has_a_row():
    assert {spec.name for _, spec in ROWS} == set(SPECS)


def test_one_seed_gives_one_picture_and_another_another(pipe):
    first = latents(pipe, seed=5)
    assert torch.equal(first, latents(pipe, seed=5))
    assert torch.equal(first, latents(pipe, generator=torch.Generator().manual_seed(5)))
    assert not torch.equal(first, latents(pipe, seed=6))
    assert not torch.equal(first, latents(pipe, "a blue hat", seed=5))


def test_the_report_is_what_the_document_says(pipe):
    report = pipe("a red hat", seed=5, **SMALL).report.to_dict()
    assert json.loads(json.dumps(report)) == report
    assert {key: sorted(value) for key, value in report.items() if isinstance(value, dict) and key != "spec"} == {
        "model": ["fingerprint", "name"],
        "totals": [
            "between_bytes",
            "codec_seconds",
            "received_bytes",
            "rounds",
            "seconds",
            "sent_bytes",
            "waiting_seconds",
        ],
        "compute": ["client_flops", "client_weight_bytes", "cloud_flops", "cloud_weight_bytes"],
    } | ({"encryption": ENCRYPTION} if isinstance(pipe.spec, Homomorphic) else {}) | (
        {"encryption": sorted([*ENCRYPTION, "cloud"]), "denoise_with": ["clouds", "protocol", "spec"]}
        if len(pipe.parts) > 1
        else {}
    )
    assert set(report) == {
        *("sfumato", "model", "protocol", "spec", "seed", "steps"),
        *("totals", "clouds", "compute", "claim", "not_hidden"),
        *(("device_model", "candidate_sets") if isinstance(pipe.spec, PromptSet) else ()),
        *(("encryption",) if isinstance(pipe.spec, Homomorphic) else ()),
        *(("denoise_with",) if len(pipe.parts) > 1 else ()),
    }
    assert (report["protocol"], report["seed"], report["steps"]) == (pipe.spec.name, 5, 2)
    assert len(report["clouds"]) == pipe.spec.num_clouds
    for way in ("sent_bytes", "received_bytes"):
        assert report["totals"][way] == sum(cloud[way] for cloud in report["clouds"]) > 0
    requests = [{report["clouds"][i]["requests"] for i in part.clouds} for part in pipe.parts]
    assert [len(each) for each in requests] == [1] * len(pipe.parts), "each round asks every cloud of its part"
    assert sum(sum(each) for each in requests) == report["totals"]["rounds"]
    assert 0 < report["totals"]["waiting_seconds"] <= report["totals"]["seconds"]
    # A cloud that holds ciphertexts computes nothing of the U-Net: that is said, and counted as it is.
    offloads = not isinstance(pipe.parts[-1].spec, Homomorphic)
    assert all(number > 0 for side, number in report["compute"].items() if offloads or side.startswith("client"))
    assert offloads or report["compute"]["cloud_flops"] == report["compute"]["cloud_weight_bytes"] == 0
    assert offloads or "nothing is offloaded" in report["claim"]
    assert type(pipe.spec).from_json(json.dumps(report["spec"])) == pipe.spec


def test_a_prompt_is_nowhere_in_the_report(pipe):
    report = pipe("a cerulean hat", negative_prompt="vermilion", seed=5, **SMALL).report
    written = report.to_dict()
    # What a set hides and what not cannot be said without its words; see docs/report.md.
    assert "cerulean" in json.dumps(written.pop("candidate_sets", "cerulean"))
    assert "cerulean" not in json.dumps(written) + repr(report)
    assert "vermilion" not in json.dumps(written) + repr(report)


def test_output_types(pipe):
    seeded = SMALL | {"seed": 5}
    (pil,) = pipe("x", output_type="pil", **seeded).images
    array = pipe("x", output_type="np", **seeded).images
    tensor = pipe("x", output_type="pt", **seeded).images
    latent = pipe("x", output_type="latent", **seeded).images
    assert isinstance(pil, Image.Image)
    assert np.array_equal(np.asarray(pil), array[0])
    assert array.dtype == np.uint8
    assert array.shape == (1, 32, 32, 3)
    assert tensor.shape == (1, 3, 32, 32)
    assert 0 <= tensor.min() <= tensor.max() <= 1
    assert np.array_equal((tensor * 255).round().permute(0, 2, 3, 1).numpy().astype(np.uint8), array)
    assert latent.shape[:2] == (1, 4)


def test_a_batch_equals_single_runs(pipe):
    prompts, seeds = ["a red hat", "an old man"], [1, 2, 3, 4]
    generators = [torch.Generator().manual_seed(s) for s in seeds]
    together = latents(pipe, prompts, negative_prompt=["blue", ""], generator=generators, num_images_per_prompt=2)
    alone = [
        latents(pipe, prompts[i // 2], negative_prompt=["blue", ""][i // 2], seed=seed) for i, seed in enumerate(seeds)
    ]
    # Another batch size means another order of sums, which a narrow number format on the wire makes visible.
    tolerance = {"fp32": 1e-4, "fp16": 0.05, "int8": 0.4, "bf16": 0.4}[wire_of(pipe.spec)]
    apart = (together - torch.cat(alone)).abs().max()
    assert apart <= tolerance * max(1.0, together.abs().max())


def test_the_callback_sees_each_step_and_may_replace_its_latents(pipe):
    seen = []

    def watch(caller, index, timestep, state):
        seen.append((caller, index, int(timestep), state["latents"].clone()))
        return state

    undisturbed = latents(pipe, seed=5, callback_on_step_end=watch)
    first = 1 if isinstance(pipe.spec, PromptSet) else 0
    assert [(caller, index) for caller, index, _, _ in seen] == [(pipe, i) for i in range(first, 2)]
    assert seen[0][2] >= seen[-1][2]
    assert torch.equal(seen[-1][3], undisturbed)
    replaced = latents(pipe, seed=5, callback_on_step_end=lambda *call: {"latents": torch.zeros_like(seen[0][3])})
    assert torch.equal(replaced, torch.zeros_like(replaced))
    first_only = latents(
        pipe,
        seed=5,
        callback_on_step_end=lambda _, i, __, state: {"latents": state["latents"] * 0.5} if i == first else {},
    )
    assert not torch.equal(first_only, undisturbed)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"seed": 1, "generator": torch.Generator()}, "give a generator or a seed, not both"),
        ({"seed": -1}, r"seed must be in \[0, 2\*\*63\), got -1"),
        ({"seed": 2**63}, "seed must be in"),
        ({"num_inference_steps": 0}, "num_inference_steps must be at least 1, got 0"),
        ({"height": 17}, "height and width must be positive multiples of 2, got 17 and 32"),
        ({"height": -2}, "height and width must be positive"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a finite number"),
        ({"output_type": "jpeg"}, "output_type must be one of pil, np, pt, latent, got 'jpeg'"),
        ({"prompt": []}, "at least one prompt"),
        ({"num_images_per_prompt": 0}, "at least one picture a prompt"),
        ({"negative_prompt": ["a", "b"]}, "2 negative prompts were given for 1 prompts"),
        ({"generator": [torch.Generator()] * 2}, "one generator a picture: 1 pictures, got 2"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_arguments_that_do_not_fit_are_refused_before_any_cloud_is_contacted(pipe, arguments, sentence, monkeypatch):
    monkeypatch.setattr(pipe._clouds, "open_channel", lambda: pytest.fail("a cloud was contacted"))
    with pytest.raises(ValueError, match=sentence):
        pipe(**{"prompt": "x"} | SMALL | arguments)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (LayerSplit(num_clouds=5), "num_clouds must be at most 4, .* got 5"),
        (LayerSplit(num_clouds=100), "num_clouds must be at most 4, .* got 100"),
        (StripSplit(num_clouds=5), "a latent of 16 rows can be cut into at most 4 tiles down, got 5: use fewer clouds"),
        (StripSplit(num_clouds=10, cfg_clouds="separate"), "16 rows can be cut into at most 4 tiles down, got 5"),
        (StripSplit(num_clouds=5, num_columns=5), "16 columns can be cut into at most 4 tiles across, got 5"),
    ],
    ids=lambda value: value.name if isinstance(value, StripSplit | LayerSplit) else "",
)
def test_more_clouds_than_rows_are_refused_before_any_is_contacted(tiny_sd, spec, sentence, monkeypatch):
    pipe = in_process(tiny_sd, spec)
    monkeypatch.setattr(pipe._clouds, "open_channel", lambda: pytest.fail("a cloud was contacted"))
    with pytest.raises(ValueError, match=sentence):
        pipe("x", **SMALL)


@pytest.mark.parametrize(("name", "kind"), BY_PROTOCOL)
def test_every_message_says_what_it_reveals(name, kind):
    package = import_module(kind.__module__.rpartition(".")[0])
    modules = [import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    values = [value for module in modules for value in vars(module).values()]
    messages = [m for m in values if isinstance(m, type) and issubclass(m, Message) and m is not Message]
    assert messages
    for message in messages:
        assert "Reveals:" in message.__doc__, message.__name__


@pytest.mark.parametrize(("name", "kind"), BY_PROTOCOL)
def test_every_setting_is_explained_and_has_a_default(name, kind):
    explained = settings_of(kind)
    assert {setting.name for setting in explained} == {f.name for f in fields(kind)}
    assert all(setting.help and setting.values and setting.default for setting in explained)
    assert parse_spec(kind, [f"{s.name}={s.default}" for s in explained]) == kind()


@pytest.mark.parametrize(("_model", "spec"), ROWS, ids=[label(r) for r in ROWS])
def test_a_spec_says_what_it_hides_and_what_it_does_not(_model, spec):
    assert spec.claim.endswith(".")
    assert spec.not_hidden
    assert all(sentence.endswith(".") for sentence in spec.not_hidden)
    assert all(spec.seen_by(cloud) for cloud in range(spec.num_clouds))


@pytest.mark.parametrize(("_model", "spec"), ROWS, ids=[label(r) for r in ROWS])
def test_a_spec_comes_back_from_json_and_from_its_repr(_model, spec):
    assert type(spec).from_json(spec.to_json()) == spec
    assert eval(repr(spec), {kind.__name__: kind for kind in SPECS.values()} | {"frozenset": frozenset}) == spec
    assert hash(type(spec).from_json(spec.to_json())) == hash(spec)


def damaged_strip_split(**changes) -> str:
    return json.dumps(StripSplit().to_dict() | changes)


@pytest.mark.parametrize(("name", "kind"), BY_PROTOCOL)
@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "3", '{"num_clouds": 1}', '{"num_clouds": 1, "wire_dtype": "fp32", "extra": 1}'),
        *('{"num_clouds": "1", "wire_dtype": "fp32"}', '{"num_clouds": true, "wire_dtype": "fp32"}'),
        *('{"num_clouds": 1, "wire_dtype": ["fp32"]}', '{"num_clouds": 1, "wire_dtype": {"a": 1}}'),
        *('{"num_clouds": 0, "wire_dtype": "fp32"}', '{"num_clouds": 1, "wire_dtype": null}', "[" * 10_000),
        '{"num_clouds":2,"offload":[["conv"]],"merge":"exact","cross_attention":"cloud","wire_dtype":"fp32"}',
        '{"num_clouds":2,"offload":"conv","merge":"exact","cross_attention":"cloud","wire_dtype":"fp32"}',
        '{"num_clouds":2,"offload":[1],"merge":"exact","cross_attention":"cloud","wire_dtype":"fp32"}',
        '{"num_clouds":2,"offload":[],"merge":"exact","cross_attention":"cloud","wire_dtype":"fp32"}',
        *(damaged_strip_split(num_clouds=3, num_columns=2), damaged_strip_split(num_columns=-1)),
        *(damaged_strip_split(wire="bf16"), damaged_strip_split(wire=["int8"]), damaged_strip_split(attention=None)),
        damaged_strip_split(num_clouds=10**4, num_columns=-1),
    ],
    ids=lambda text: text[:40],
)
def test_a_damaged_spec_is_refused(name, kind, text):
    with pytest.raises(SpecMismatch, match=f"the spec of {name} was not accepted"):
        kind.from_json(text)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_clouds": 0}, "num_clouds must be at least 1, got 0"),
        ({"num_clouds": "2"}, "num_clouds must be int, got '2'"),
        ({"num_clouds": True}, "num_clouds must be int, got True"),
        ({"wire_dtype": "int4"}, "wire_dtype must be one of fp32, fp16, bf16, got int4"),
        ({"merge": None}, "merge must be one of exact, paper, got None"),
        (
            {"offload": frozenset({"conv", "foo"})},
            "offload must be among conv, pointwise_conv, self_attention, cross_attention, norm, got foo",
        ),
        ({"offload": frozenset()}, "offload must leave something for the clouds: name at least one kind of layer"),
        (
            {"offload": frozenset({"cross_attention"}), "cross_attention": "client"},
            "offload must leave something for the clouds: name at least one kind of layer",
        ),
    ],
    ids=str,
)
def test_values_that_cannot_be_are_told_by_name(change, sentence):
    assert unchecked(LayerSplit, change).problems() == [sentence]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_clouds": 0}, "num_clouds must be at least 1, got 0"),
        ({"num_clouds": 2.0}, "num_clouds must be int, got 2.0"),
        ({"num_columns": "2"}, "num_columns must be int, got '2'"),
        ({"num_columns": -2}, "num_columns must be at least 0, got -2"),
        ({"attention": "flash"}, "attention must be one of fused, hidden, qkv, got flash"),
        ({"cross_attention": "clouds"}, "cross_attention must be one of client, cloud, got clouds"),
        ({"wire": "bf16"}, "wire must be one of fp32, fp16, int8, got bf16"),
        ({"stem": "cloud"}, "stem must be one of client, clouds, got cloud"),
        ({"sampler_borders": True}, "sampler_borders must be one of ahead, asked, got True"),
        ({"overlap": "rounds"}, "overlap must be one of none, halves, got rounds"),
        (
            {"overlap": "halves", "cfg_clouds": "separate"},
            "overlap=halves needs cfg_clouds=shared: clouds of their own overlap already",
        ),
        ({"cfg_clouds": None}, "cfg_clouds must be one of shared, separate, got None"),
        (
            {"num_clouds": 5, "num_columns": 2},
            "num_clouds must be a multiple of 2 (num_columns=2, cfg_clouds=shared), got 5",
        ),
        (
            {"num_clouds": 3, "cfg_clouds": "separate"},
            "num_clouds must be a multiple of 2 (num_columns=0, cfg_clouds=separate), got 3",
        ),
        (
            {"num_clouds": 6, "num_columns": 2, "cfg_clouds": "separate"},
            "num_clouds must be a multiple of 4 (num_columns=2, cfg_clouds=separate), got 6",
        ),
        ({"borders": "peers"}, "borders must be one of client, direct, got peers"),
        (
            {"borders": "direct", "num_clouds": 1},
            "borders=direct needs num_clouds of at least 2 (cfg_clouds=shared), got 1: a cloud that has the whole "
            "picture meets nobody",
        ),
        (
            {"borders": "direct", "num_clouds": 10**12},
            "borders=direct takes at most 64 clouds, got 1000000000000: every two hold a stream",
        ),
        (
            {"borders": "direct", "num_clouds": 2, "cfg_clouds": "separate"},
            "borders=direct needs num_clouds of at least 4 (cfg_clouds=separate), got 2: a cloud that has the whole "
            "picture meets nobody",
        ),
        (
            {"num_clouds": 1, "num_columns": 2},
            "num_clouds must be a multiple of 2 (num_columns=2, cfg_clouds=shared), got 1",
        ),
    ],
    ids=str,
)
def test_values_of_strip_split_that_cannot_be_are_told_by_name(change, sentence):
    assert unchecked(StripSplit, change).problems() == [sentence]


def test_a_cloud_of_strip_split_is_told_what_it_sees():
    quadrants = StripSplit(num_clouds=8, num_columns=2, cfg_clouds="separate", cross_attention="cloud")
    assert quadrants.seen_by(0) == "tile 1 of 4, without the prompt, the text"
    assert quadrants.seen_by(7) == "tile 4 of 4, with the prompt, the text"
    assert StripSplit(num_clouds=2).seen_by(1) == "tile 2 of 2"
    meeting = StripSplit(num_clouds=2, borders="direct")
    assert meeting.seen_by(0) == "tile 1 of 2, other clouds' addresses and statistics"


def test_clouds_that_meet_rest_on_their_word_and_the_spec_says_so():
    apart, meeting = (StripSplit(borders=borders) for borders in ("client", "direct"))
    assert "rests on their word" in meeting.claim
    assert "rests on their word" not in apart.claim
    added = [sentence for sentence in meeting.not_hidden if sentence not in apart.not_hidden]
    assert ["addresses" in sentence for sentence in added] == [True, False]
    assert "every other tile's own group statistics" in added[1]


def test_only_clouds_of_the_same_half_meet():
    assert StripSplit(num_clouds=3, borders="direct").peers_of(1) == (0, 2)
    separate = StripSplit(num_clouds=8, borders="direct", cfg_clouds="separate")
    assert [separate.peers_of(cloud) for cloud in (0, 5)] == [(1, 2, 3), (4, 6, 7)]
    assert StripSplit().peers_of(0) == Plain().peers_of(0) == ()


def test_several_problems_are_told_together():
    assert len(unchecked(StripSplit, {"num_clouds": 0, "attention": "", "wire": "int4"}).problems()) == 3
    assert len(unchecked(LayerSplit, {"num_clouds": 0, "merge": "mean", "wire_dtype": "int4"}).problems()) == 3


def unchecked(kind, change):
    """A spec that was never constructed, because types are checked in tests before the spec's own words are said."""
    spec = object.__new__(kind)
    for f in fields(kind):
        object.__setattr__(spec, f.name, change.get(f.name, f.default))
    return spec


@pytest.mark.parametrize(("name", "kind"), BY_PROTOCOL)
def test_every_spec_has_a_worker_half_that_names_its_requests(name, kind, tiny_sd):
    from sfumato.models.loading import meta_unet

    half = worker_half(kind(), meta_unet(tiny_sd), 0, tiny_sd)
    assert half.kinds
    assert "session" not in {request.topic for request in half.kinds}
    assert "Reveals:" in type(half).__doc__
    assert "Run by: worker" in type(half).__doc__
