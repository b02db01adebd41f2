"""A cloud holds the latents encrypted while others denoise: two protocols in one run."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from recorded import in_process, record, served
from sfumato.client import composed
from sfumato.client.catalog import client_half
from sfumato.client.parts import parse_parts, parts_of
from sfumato.client.pipeline import PrivatePipeline
from sfumato.client.sessions import open_sessions
from sfumato.client.wrapped_clouds import RecordedClouds
from sfumato.cost.dry_run import dry_run
from sfumato.errors import Unsupported, WireError, WorkerError
from sfumato.protocols.homomorphic import custody
from sfumato.protocols.homomorphic.messages import Accumulator, EncryptedChange, EncryptedStart, Fetch
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.serialised import as_tensor
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.simulation import InProcessClouds
from sfumato.transport.in_process import InProcessChannel
from sfumato.transport.recording import Recording
from sfumato.wire.messages import Hello, Refusal, Welcome
from sfumato.worker.sessions import CloudSession

pytest.importorskip("tenseal")

SMALL = {"height": 32, "width": 32, "num_inference_steps": 3, "seed": 3, "output_type": "latent"}
CIPHERTEXTS = {"EncryptedStart", "EncryptedChange", "Fetch", "Added", "Accumulator"}
INNER = [
    ("tiny_sd", StripSplit(num_clouds=2)),
    ("tiny_sdxl", StripSplit(num_clouds=4, num_columns=2, cfg_clouds="separate", wire="int8")),
    ("tiny_sd", StripSplit(num_clouds=3, borders="direct")),
    ("tiny_sd", LayerSplit(num_clouds=3)),
]


def outer(inner, **settings) -> Homomorphic:
    return Homomorphic(denoise_with=inner.name, num_clouds=1 + inner.num_clouds, **settings)


def composed_pipe(folder, inner, clouds=None) -> PrivatePipeline:
    spec = outer(inner)
    return PrivatePipeline(
        folder,
        spec,
        clouds or InProcessClouds(served(folder), spec.num_clouds),
        torch_dtype=torch.float32,
        scheduler="ddim",
        denoise_with=inner,
    )


class OddClouds:
    """Clouds in this process of which one answers some requests otherwise, and of each what it was sent."""

    def __init__(self, folder, num_clouds, cloud=0, answer=lambda request, _: None):
        self._folder, self._num_clouds, self._cloud, self._answer = folder, num_clouds, cloud, answer

    @contextmanager
    def open_channel(self):
        sessions = [CloudSession(served(self._folder)) for _ in range(self._num_clouds)]
        self.sent = [[] for _ in sessions]

        def handled(number):
            def handle(request):
                self.sent[number].append(type(request).__name__)
                odd = self._answer(request, sessions[number]) if number == self._cloud else None
                return odd or sessions[number].handle(request)

            return handle

        with InProcessChannel([handled(number) for number in range(self._num_clouds)]) as channel:
            self.channel = channel
            yield channel

    def close(self): ...


@pytest.mark.parametrize(("model", "inner"), INNER, ids=lambda value: getattr(value, "name", value))
def test_the_picture_and_the_work_are_the_denoising_protocols_own(request, model, inner):
    folder = request.getfixturevalue(model)
    arguments = SMALL | {"negative_prompt": "blue", "num_images_per_prompt": 2}
    found, own = composed_pipe(folder, inner)("x", **arguments), in_process(folder, inner)("x", **arguments)
    assert torch.equal(found.images, own.images)
    assert found.report.compute == own.report.compute
    assert found.report.traffic.by_topic[1:] == own.report.traffic.by_topic
    assert found.report.traffic.between_bytes == [0, *own.report.traffic.between_bytes]


def test_the_report_says_which_clouds_each_sentence_is_about(tiny_sd):
    inner = LayerSplit(num_clouds=2, cross_attention="client")
    report = composed_pipe(tiny_sd, inner)("x", **SMALL).report
    written = report.to_dict()
    own, *others = [cloud["requests"] for cloud in written["clouds"]]
    assert (own, len({*others})) == (1 + 1 + 3 + 1, 1)
    assert written["totals"]["rounds"] == own + others[0]
    assert written["denoise_with"] == {
        "protocol": "layer-split",
        "spec": inner.to_dict(),
        "clouds": ["cloud-2", "cloud-3"],
    }
    assert (written["protocol"], written["spec"]) == ("homomorphic", outer(inner).to_dict())
    assert (written["encryption"]["cloud"], written["encryption"]["ciphertexts"]) == ("cloud-1", 4)
    custodian, denoising = "cloud-1 (homomorphic): ", "cloud-2 to cloud-3 (layer-split): "
    assert written["claim"] == f"{custodian}{outer(inner).claim} {denoising}{inner.claim}"
    assert "U-Net runs on 2 other clouds, to which nothing is encrypted" in written["claim"]
    assert written["not_hidden"] == [
        *(custodian + sentence for sentence in outer(inner).not_hidden),
        *(denoising + sentence for sentence in (*inner.not_hidden, *inner.not_hidden_with_seed)),
    ]
    assert "that 2 other clouds denoise with layer-split." in written["not_hidden"][0]
    assert [report.seen_by(cloud) for cloud in range(3)] == [outer(inner).seen_by(0), *map(inner.seen_by, range(2))]


def windows(content: bytes, length: int = 16) -> set[bytes]:
    return {content[at : at + length] for at in range(0, len(content) - length, max(1, len(content) // 64 // 4 * 4))}


def bytes_of(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def test_the_first_cloud_is_sent_nothing_in_the_clear_and_the_others_no_ciphertext(tiny_sd, tmp_path, monkeypatch):
    predictions, latents = [], []
    sample = composed.sample

    def watched(denoiser, sampling, on_step):
        def kept(*call):
            predictions.append(denoiser(*call))
            return predictions[-1]

        for step in sample(kept, sampling, on_step):
            latents.append(step.latents.clone())
            yield step

    monkeypatch.setattr(composed, "sample", watched)
    inner = StripSplit(num_clouds=2, wire="fp32")
    clouds = RecordedClouds(InProcessClouds(served(tiny_sd), 3), tmp_path / "rec")
    composed_pipe(tiny_sd, inner, clouds)("a weatherbeaten fisherman", **SMALL)
    recording = Recording.read(tmp_path / "rec")
    content = {name: (tmp_path / f"rec/{name}.transcript").read_bytes() for name in recording.transcripts}
    entries = {name: transcript.entries for name, transcript in recording.transcripts.items()}
    assert {e.kind for e in entries["cloud-1"]} == {"Hello", "Welcome", *CIPHERTEXTS}
    assert all(t.dtype == torch.uint8 for e in entries["cloud-1"] for t in e.tensors.values())
    held = [form for x in (*latents, *predictions) for form in (x, x.double(), x.half())]
    assert len(predictions) == len(latents) == 3
    assert not any(window in content["cloud-1"] for x in held for window in windows(bytes_of(x)))
    assert b"fisherman" not in b"".join(content.values())
    ciphertexts = [window for e in entries["cloud-1"] for t in e.tensors.values() for window in windows(bytes_of(t))]
    assert all(window in content["cloud-1"] for window in ciphertexts)
    for name in ("cloud-2", "cloud-3"):
        assert not {e.kind for e in entries[name]} & CIPHERTEXTS
        assert not any(window in content[name] for window in ciphertexts)
        # The search finds what is there: strip-split's clouds send their part of each prediction.
        rows = predictions[-1][:, :, :8] if name == "cloud-2" else predictions[-1][:, :, 8:]
        assert bytes_of(rows[0, 0, 0])[:16] in content[name]
    assert [(part["clouds"], part["protocol"]) for part in recording.meta["parts"]] == [
        (["cloud-1"], "homomorphic"),
        (["cloud-2", "cloud-3"], "strip-split"),
    ]
    assert recording.meta["parts"][1]["spec"] == inner.to_dict()
    assert recording.meta["spec"] == recording.meta["parts"][0]["spec"] == outer(inner).to_dict()


def test_a_run_of_one_protocol_is_recorded_without_parts(tiny_sd, tmp_path):
    assert "parts" not in record(tiny_sd, LayerSplit(num_clouds=2), tmp_path, height=32, width=32).recording.meta


def test_a_wrong_accumulator_ends_the_run_after_every_session(tiny_sd, monkeypatch):
    def doubled(request, session):
        if not isinstance(request, Fetch):
            return None
        held = session._half._held
        return Accumulator(ciphertexts=as_tensor(held.add(held).to_bytes()))

    clouds = OddClouds(tiny_sd, 3, 0, doubled)
    pipe = composed_pipe(tiny_sd, StripSplit(num_clouds=2), clouds)
    with pytest.raises(WorkerError, match=r"^cloud-1 returned an accumulator that is not the sum of what it was sent"):
        pipe("x", **SMALL)
    assert clouds.sent[0] == ["Hello", "EncryptedStart", *["EncryptedChange"] * 3, "Fetch"]

    def watched(_):
        live.append(set(clouds.channel._live))
        raise WireError("stopped here")

    live: list[set[int]] = []
    monkeypatch.setattr(custody, "content_of", watched)
    with pytest.raises(WireError, match="stopped here"):
        pipe("x", **SMALL)
    assert live == [set()], "no cloud sees in which moment the check is made, or what it found"


def test_the_denoising_sessions_have_ended_when_ciphertexts_are_asked_for(tiny_sd):
    live = []

    def watch(request, _):
        if isinstance(request, Fetch):
            live.append(set(clouds.channel._live))

    clouds = OddClouds(tiny_sd, 3, 0, watch)
    composed_pipe(tiny_sd, LayerSplit(num_clouds=2), clouds)("x", **SMALL)
    assert live == [{0}]


@pytest.mark.parametrize("inner", [StripSplit(num_clouds=2), LayerSplit(num_clouds=2)], ids=lambda spec: spec.name)
@pytest.mark.parametrize("cloud", [0, 2])
def test_a_refusal_on_either_side_ends_both_and_the_pipeline_can_run_again(tiny_sd, inner, cloud):
    count = 0

    def refuse(request, _):
        nonlocal count
        count += 1
        refuses = isinstance(request, EncryptedChange) if cloud == 0 else count == 12
        return Refusal(error="WorkerError", sentence="it has a reason of its own") if refuses else None

    pipe = composed_pipe(tiny_sd, inner, OddClouds(tiny_sd, 3, cloud, refuse))
    with pytest.raises(WorkerError, match=f"^cloud-{cloud + 1}: it has a reason of its own$"):
        pipe("x", **SMALL)
    odd, pipe._clouds = pipe._clouds, InProcessClouds(served(tiny_sd), 3)
    assert not odd.channel._live
    assert "Fetch" not in odd.sent[0]
    assert torch.equal(pipe("x", **SMALL).images, in_process(tiny_sd, inner)("x", **SMALL).images)


def test_neither_side_answers_the_other_protocol(tiny_sd):
    spec, inner = outer(StripSplit(num_clouds=2)), StripSplit(num_clouds=2)
    with InProcessClouds(served(tiny_sd), 3).open_channel() as channel:
        parts = parts_of(spec, inner)
        open_sessions(channel, parts, served(tiny_sd).fingerprint)
        start = EncryptedStart(num_ciphertexts=1, ciphertexts=torch.zeros(9, dtype=torch.uint8))
        with pytest.raises(WireError, match="strip-split does not answer EncryptedStart"):
            parts[1].channel(channel).exchange([start] * 2, Accumulator)


def test_a_cloud_that_only_denoises_is_not_served_the_outer_spec(tiny_sd):
    spec = outer(StripSplit(num_clouds=2))
    hello = Hello(
        package_version="0.1.0",
        protocol=spec.name,
        spec_json=spec.to_json(),
        model_fingerprint=served(tiny_sd).fingerprint,
        cloud_index=1,
        num_clouds=3,
    )
    reply = CloudSession(served(tiny_sd)).handle(hello)
    assert (reply.error, reply.sentence) == ("SpecMismatch", "cloud index 1 is outside the spec's 1 clouds")
    assert isinstance(CloudSession(served(tiny_sd)).handle(replace(hello, cloud_index=0)), Welcome)


def test_another_number_of_clouds_is_refused_before_anything_is_sent():
    channel = InProcessChannel([lambda _: pytest.fail("something was sent")] * 4)
    with pytest.raises(ValueError, match="homomorphic is set to 3 clouds and 4 were given: make them agree"):
        open_sessions(channel, parts_of(outer(LayerSplit(num_clouds=2))), "f" * 64)


def test_what_the_denoising_protocol_cannot_cut_is_refused_before_any_cloud_is_contacted(tiny_sd, monkeypatch):
    pipe = composed_pipe(tiny_sd, StripSplit(num_clouds=5))
    monkeypatch.setattr(pipe._clouds, "open_channel", lambda: pytest.fail("a cloud was contacted"))
    with pytest.raises(ValueError, match="a latent of 16 rows can be cut into at most 4 tiles down, got 5"):
        pipe("x", **SMALL)


def test_clouds_that_meet_are_not_recorded(tiny_sd, tmp_path):
    clouds = RecordedClouds(InProcessClouds(served(tiny_sd), 3), tmp_path / "rec")
    pipe = composed_pipe(tiny_sd, StripSplit(num_clouds=2, borders="direct"), clouds)
    with pytest.raises(Unsupported, match="record with borders=client"):
        pipe("x", **SMALL)


def test_a_composition_is_not_counted_without_computing(tiny_sd):
    with pytest.raises(Unsupported, match="measure a run with sfumato generate --report"):
        dry_run(outer(StripSplit()), torch.nn.Identity(), torch.zeros(1, 4, 16, 16), None)


# What may be said about the two


@pytest.mark.parametrize(
    ("pairs", "num_clouds", "specs"),
    [
        (["denoise_with=strip-split"], None, (outer(StripSplit()), StripSplit())),
        (["denoise_with=strip-split"], 3, (outer(StripSplit(num_clouds=2)), StripSplit(num_clouds=2))),
        (
            ["denoise_with=layer-split", "num_clouds=3", "denoise.merge=paper", "parameters=compact"],
            None,
            (outer(LayerSplit(num_clouds=2), parameters="compact"), LayerSplit(num_clouds=2, merge="paper")),
        ),
        (
            ["denoise_with=strip-split", "denoise.num_clouds=2", "denoise.wire=int8", "denoise.borders=direct"],
            None,
            (outer(StripSplit(num_clouds=2)), StripSplit(num_clouds=2, wire="int8", borders="direct")),
        ),
        (["denoise_with=nothing"], None, (Homomorphic(),)),
    ],
    ids=str,
)
def test_settings_with_a_dot_are_the_denoising_protocols(pairs, num_clouds, specs):
    assert tuple(part.spec for part in parse_parts("homomorphic", pairs, num_clouds)) == specs


@pytest.mark.parametrize(
    ("name", "pairs", "num_clouds", "sentence"),
    [
        ("homomorphic", ["denoise_with=strip-split", "denoise.wires=int8"], None, "strip-split has no setting 'wires'"),
        ("homomorphic", ["denoise.wire=int8"], None, r"denoise\.wire=int8 is of a protocol that denoises, and none is"),
        ("strip-split", ["denoise.wire=int8"], 4, r"add --protocol homomorphic --set denoise_with=strip-split"),
        ("homomorphic", ["denoise_with=nothing", "denoise.wire=int8"], None, "and none is named"),
        (
            "homomorphic",
            ["denoise_with=strip-split", "denoise.num_clouds=3"],
            5,
            "of 5 clouds the first holds the ciphertexts and 4 denoise, and strip-split is set to 3: make them agree",
        ),
        ("homomorphic", ["denoise_with=strip-split"], 1, "needs two clouds or more, the first for the ciphertexts"),
        ("homomorphic", ["denoise_with=strip-split", "mode=paper"], None, "denoise_with=strip-split is of mode=sealed"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused_in_one_sentence(name, pairs, num_clouds, sentence):
    with pytest.raises(ValueError, match=sentence) as refused:
        parse_parts(name, pairs, num_clouds)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("spec", "inner", "sentence"),
    [
        (
            Homomorphic(),
            StripSplit(),
            "strip-split is to denoise and homomorphic is not set to it: use homomorphic with",
        ),
        (Plain(), StripSplit(), "and plain is not set to it"),
        (outer(StripSplit()), LayerSplit(), "denoise_with=strip-split is set, and settings of layer-split are given"),
        (outer(StripSplit()), StripSplit(num_clouds=5), "4 denoise, and strip-split is set to 5: make them agree"),
    ],
    ids=str,
)
def test_specs_that_do_not_fit_are_refused_in_one_sentence(tiny_sd, spec, inner, sentence):
    with pytest.raises(ValueError, match=sentence):
        parts_of(spec, inner)
    with pytest.raises(ValueError, match=sentence):
        PrivatePipeline.from_pretrained(
            tiny_sd.path, protocol=spec, denoise_with=inner, clouds=InProcessClouds(None, 1)
        )


def test_a_spec_alone_denoises_with_the_other_protocols_defaults():
    half = client_half(outer(LayerSplit()))
    assert isinstance(half, composed.ComposedClient)
    assert half._parts[1].spec == LayerSplit()
