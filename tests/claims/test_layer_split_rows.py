"""A cloud of layer-split is given exactly what the spec says, shown on the bytes that were recorded."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recorded import ALL_LAYERS, PROMPT, LayerInput, Run, in_process, record, served, watched_inputs
from sfumato.client.sessions import open_session
from sfumato.models.denoiser import Conditioning
from sfumato.models.layers import layers_of
from sfumato.models.loading import load_unet
from sfumato.protocols.layer_split.client import LayerSplitClient
from sfumato.protocols.layer_split.spec import ConvStrip, LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.transport.in_process import InProcessChannel
from sfumato.worker.sessions import CloudSession

SMALL = {"height": 32, "width": 24}  # latents of 16 rows and 12 columns
ODD = {"height": 36, "width": 24, "num_inference_steps": 1}

CASES = {
    "default of 2": ("tiny_sd", LayerSplit(num_clouds=2), SMALL),
    "default of 4": ("tiny_sd", LayerSplit(num_clouds=4), SMALL | {"negative_prompt": "blue"}),
    "every layer": ("tiny_sd", LayerSplit(num_clouds=3, offload=ALL_LAYERS), SMALL),
    "odd heights": ("tiny_sd", LayerSplit(num_clouds=3, offload=ALL_LAYERS), ODD),
    "text stays": ("tiny_sd", LayerSplit(num_clouds=2, cross_attention="client"), SMALL | {"guidance_scale": 1.0}),
    "half precision": ("tiny_sd", LayerSplit(num_clouds=2, wire_dtype="fp16"), SMALL),
    "sdxl": ("tiny_sdxl", LayerSplit(num_clouds=2, offload=ALL_LAYERS), ODD | {"height": 32}),
}


@pytest.fixture(scope="module", params=CASES)
def run(request, tmp_path_factory) -> Run:
    model, spec, arguments = CASES[request.param]
    return record(request.getfixturevalue(model), spec, tmp_path_factory.mktemp("run") / "recording", **arguments)


def strip_rows(height: int, latent_height: int, num_clouds: int) -> list[tuple[int, int]]:
    """The strips of a map, worked out from the document: even cuts of the latent, halved upwards on the way down."""
    cuts = [int(i * latent_height / num_clouds + 0.5) for i in range(num_clouds + 1)]
    while latent_height > height:
        latent_height, cuts = -(-latent_height // 2), [-(-c // 2) for c in cuts]
    assert latent_height == height
    return list(pairwise(cuts))


def rows_behind(conv, height: int, strip: tuple[int, int]) -> list[int]:
    """Input rows that a strip of a convolution's output depends on, found by trying each."""
    kernel, stride, padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
    touched = F.conv1d(torch.eye(height).unsqueeze(1), torch.ones(1, 1, kernel), stride=stride, padding=padding)
    return touched[:, 0, strip[0] : strip[1]].sum(1).nonzero().flatten().tolist()


def away(run: Run) -> Iterator[LayerInput]:
    return (call for call in run.inputs if call.kind in run.spec.effective_offload)


def allowed(run: Run, call: LayerInput, cloud: int, unet) -> dict[str, Tensor]:
    """What the spec lets this cloud have of one call of a layer."""
    latent_height, latent_width = run.latents[0].shape[2:]
    num_clouds = run.spec.num_clouds
    if call.kind.endswith("attention"):
        query, key, value = call.tensors
        height, width = latent_height, latent_width
        while height * width > query.shape[1]:
            height, width = -(-height // 2), -(-width // 2)
        first, last = strip_rows(height, latent_height, num_clouds)[cloud]
        return {"query": query[:, first * width : last * width], "key": key, "value": value}
    (features,) = call.tensors
    layer, height = unet.get_submodule(call.path), features.shape[2]
    if call.kind == "norm":
        first, last = strip_rows(height, latent_height, num_clouds)[cloud]
        return {"rows": features[:, :, first:last]}
    out_height = (height + 2 * layer.padding[0] - layer.kernel_size[0]) // layer.stride[0] + 1
    needed = rows_behind(layer, height, strip_rows(out_height, latent_height, num_clouds)[cloud])
    return {"rows": features[:, :, needed]}


KINDS = {
    "conv": "ConvStrip",
    "pointwise_conv": "PointwiseStrip",
    "norm": "NormStrip",
    "self_attention": "SelfAttentionStrip",
    "cross_attention": "CrossAttentionStrip",
}


def test_each_cloud_gets_its_rows_of_each_layer_and_nothing_else(run, request):
    unet = served(request.getfixturevalue(CASES[request.node.callspec.params["run"]][0])).unet
    calls = list(away(run))
    wire = {"fp32": torch.float32, "fp16": torch.float16}[run.spec.wire_dtype]
    for cloud in range(run.spec.num_clouds):
        hello, *requests = run.sent(cloud)
        assert hello.kind == "Hello"
        assert len(requests) == len(calls)
        for entry, call in zip(requests, calls, strict=True):
            assert entry.kind == KINDS[call.kind]
            is_conv = call.kind in ("conv", "pointwise_conv")
            assert entry.values.keys() == ({"path", "pad_top", "pad_bottom"} if is_conv else {"path"})
            assert entry.values["path"] == call.path
            want = allowed(run, call, cloud, unet)
            assert entry.tensors.keys() == want.keys()
            for name, tensor in want.items():
                assert torch.equal(entry.tensors[name], tensor.to(wire)), (call.path, name)


def test_padding_says_only_where_the_picture_ends(run):
    last = run.spec.num_clouds - 1
    for cloud in range(run.spec.num_clouds):
        for entry in run.sent(cloud):
            assert entry.values.get("pad_top", 0) <= (1 if cloud == 0 else 0)
            assert entry.values.get("pad_bottom", 0) <= (1 if cloud == last else 0)


def test_the_bytes_counted_are_the_bytes_recorded(run):
    traffic = run.output.report.traffic
    for cloud in range(run.spec.num_clouds):
        entries = run.recording.transcripts[f"cloud-{cloud + 1}"].entries
        sent = sum(e.size_bytes for e in run.sent(cloud))
        tally = traffic.tally(cloud)
        assert (tally.requests, tally.sent_bytes) == (len(run.sent(cloud)), sent)
        assert tally.sent_bytes + tally.received_bytes == sum(e.size_bytes for e in entries)


@pytest.mark.parametrize("case", ["default of 2", "every layer", "sdxl"])
def test_what_the_client_cuts_are_the_inputs_of_the_unsplit_unet(case, request, tmp_path):
    model, spec, arguments = CASES[case]
    folder = request.getfixturevalue(model)
    split = record(folder, spec, tmp_path / "split", **arguments)
    whole = unsplit_inputs(folder, arguments)
    assert [c.path for c in split.inputs] == [c.path for c in whole]
    for ours, theirs in zip(split.inputs, whole, strict=True):
        for a, b in zip(ours.tensors, theirs.tensors, strict=True):
            assert (a - b).abs().max() <= 1e-3 * max(1.0, b.abs().max()), ours.path


def unsplit_inputs(folder, arguments) -> list[LayerInput]:
    """The inputs of every layer where a cloud of plain runs the whole U-Net."""
    with watched_inputs(served(folder).unet) as inputs:
        pipe = in_process(folder, Plain())
        pipe(PROMPT, **{"num_inference_steps": 2, "seed": 3, "output_type": "latent"} | arguments)
    return inputs


def first_strips(folder, spec, latent) -> list[Tensor]:
    """What each cloud is sent of one latent, in the first request about it."""
    first: list[Tensor] = []

    def watched(handle):
        def answer(request):
            if isinstance(request, ConvStrip) and request.path == "conv_in":
                first.append(request.rows.clone())
            return handle(request)

        return answer

    sessions = [CloudSession(served(folder)) for _ in range(spec.num_clouds)]
    channel = InProcessChannel([watched(s.handle) for s in sessions])
    open_session(channel, spec, served(folder).fingerprint)
    half = LayerSplitClient(spec)
    unet = load_unet(folder, half.keeps)
    width = unet.config.cross_attention_dim
    with half.denoiser(unet, channel) as denoiser:
        denoiser(latent, torch.tensor(500), Conditioning(prompt_embeds=torch.zeros(1, 5, width)))
    return first


def test_latents_that_agree_in_a_clouds_rows_look_the_same_to_it(tiny_sd):
    """Rows 0 to 7 and one of halo are the first cloud's; what lies below changes, and only the second cloud sees it."""
    latent = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    other = latent.clone()
    other[:, :, 9:] = torch.randn(1, 4, 7, 16, generator=torch.Generator().manual_seed(1))
    one, two = (first_strips(tiny_sd, LayerSplit(num_clouds=2), x) for x in (latent, other))
    assert torch.equal(one[0], two[0])
    assert not torch.equal(one[1], two[1])


def test_the_unet_has_layers_of_every_kind(tiny_sd):
    """Else the tests above would prove little."""
    assert {kind for _, kind, _ in layers_of(served(tiny_sd).unet)} >= ALL_LAYERS
