"""What readers say of split runs is what the plain reader says of the same run, within each cloud's window."""

import dataclasses
import math
from functools import lru_cache

import pytest
import torch

from recorded import in_process, served
from sfumato.attacks.seen.base import Half, assembled
from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.seen.layer_split import LayerSplitReader
from sfumato.attacks.seen.strip_split import StripSplitReader
from sfumato.attacks.view import RunSettings, RunView
from sfumato.client.wrapped_clouds import KeptClouds
from sfumato.errors import LacksInput
from sfumato.models.folder import ModelFolder
from sfumato.protocols.base import Spec
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.prompt_set.spec import PromptSet
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.simulation import InProcessClouds
from sfumato.transport.recording import Recording
from sfumato.wire.selection import keep_all

PROMPTS = ["a weatherbeaten fisherman", "an old woman"]
STEPS = 2
EVERY = frozenset({"conv", "pointwise_conv", "self_attention", "cross_attention", "norm"})


@lru_cache
def recorded(model: ModelFolder, spec: Spec, guidance_scale: float = 5.0) -> Recording:
    """A run of two pictures, kept in memory."""
    clouds = KeptClouds(InProcessClouds(served(model), spec.num_clouds), keep_all)
    pipe = in_process(model, spec, clouds=clouds)
    size = {"height": 32, "width": 16, "num_inference_steps": STEPS, "guidance_scale": guidance_scale}
    pipe(PROMPTS, generator=torch.Generator().manual_seed(3), output_type="latent", **size)
    return clouds.taken()


def seen(model, spec, clouds=None, guidance_scale=5.0, *, is_told=True) -> RunView:
    view = RunView.of(recorded(model, spec, guidance_scale), model, clouds)
    settings = RunSettings(
        num_pictures=2,
        num_inference_steps=STEPS,
        guidance_scale=guidance_scale,
        scheduler="ddim",
        height=32,
        width=16,
    )
    return dataclasses.replace(view, settings=settings) if is_told else view


def names(spec):
    return [f"cloud-{i + 1}" for i in range(spec.num_clouds)]


def agree(found, truth, tolerance=2e-4):
    """Maps of some clouds against whole ones."""
    by_step = {each.step: each for each in truth}
    assert found
    for each in found:
        whole = by_step[each.step]
        assert (each.window.height, each.window.width) == (whole.window.height, whole.window.width)
        within = whole.within(each.window).values
        if each.half is Half.NEGATIVE:
            within = within[: len(within) // 2]
        if each.half is Half.PROMPT:
            within = within[len(within) // 2 :]
        assert each.values.shape == within.shape
        assert (each.values - within).abs().max() <= tolerance * max(1, float(within.abs().max()))


SPLITS = [
    *(LayerSplit(num_clouds=n, offload=EVERY) for n in (1, 2, 4)),
    *(StripSplit(num_clouds=n, wire="fp32") for n in (1, 2, 4)),
    StripSplit(num_clouds=4, wire="fp32", cfg_clouds="separate"),
    StripSplit(num_clouds=2, wire="fp32", overlap="halves"),
    StripSplit(num_clouds=2, wire="fp32", attention="qkv"),
    StripSplit(num_clouds=2, wire="fp32", attention="hidden", cross_attention="cloud", stem="clouds"),
]


def told(spec):
    return f"{spec.name}-{spec.num_clouds}-{getattr(spec, 'attention', '')}-{getattr(spec, 'cfg_clouds', '')}"


@pytest.mark.parametrize("spec", SPLITS, ids=told)
def test_latents_and_predictions_are_those_of_plain(tiny_sd, spec):
    plain, truth = reader_of(view := seen(tiny_sd, Plain())), view
    for cloud in names(spec):
        view = seen(tiny_sd, spec, [cloud])
        reader = reader_of(view)
        assert reader.num_pictures(view) == 2
        agree(reader.latents(view), plain.latents(truth))
        agree(reader.predictions(view), plain.predictions(truth))
        assert [each.timestep for each in reader.latents(view)] == [each.timestep for each in plain.latents(truth)]
    everyone = seen(tiny_sd, spec, names(spec))
    latents = [each for each in reader_of(everyone).latents(everyone) if each.step == 1]
    values, known = assembled(latents)
    assert known.all()
    assert torch.allclose(values, plain.latents(truth)[1].values, atol=1e-4)


LAYERS = [
    *("conv_in", "conv_out", "conv_norm_out", "down_blocks.0.resnets.0.conv1", "down_blocks.0.resnets.0.norm2"),
    *("down_blocks.0.downsamplers.0.conv", "up_blocks.0.upsamplers.0.conv", "mid_block.attentions.0.norm"),
    "up_blocks.1.resnets.0.conv_shortcut",
]


@pytest.mark.parametrize("spec", [SPLITS[2], SPLITS[4], *SPLITS[6:]], ids=told)
def test_features_are_those_of_plain(tiny_sd, spec):
    truth = seen(tiny_sd, Plain())
    plain = reader_of(truth)
    view = seen(tiny_sd, spec, names(spec)[-1:])
    reader = reader_of(view)
    paths = [path for path in LAYERS if path in reader.feature_paths(view)]
    assert len(paths) > 6
    for path in paths:
        agree(reader.features(view, path), plain.features(truth, path))


def test_what_attention_adds_is_a_feature_of_strip_split(tiny_sd):
    spec = StripSplit(num_clouds=4, wire="fp32")
    truth, view = seen(tiny_sd, Plain()), seen(tiny_sd, spec, ["cloud-3"])
    (path, *_) = [p for p in reader_of(view).feature_paths(view) if p.endswith("norm3")]
    agree(reader_of(view).features(view, path), reader_of(truth).features(truth, path))


def test_self_attention_at_the_clouds_shows_the_whole_map(tiny_sd):
    spec = LayerSplit(num_clouds=4, offload=EVERY)
    truth, view = seen(tiny_sd, Plain()), seen(tiny_sd, spec, ["cloud-2"])
    (path, *_) = [p for p in reader_of(view).feature_paths(view) if p.endswith("attn1")]
    found = reader_of(view).features(view, path)
    assert all(each.window.is_whole for each in found)
    agree(found, reader_of(truth).features(truth, path), tolerance=1e-2)


@pytest.mark.parametrize("spec", [LayerSplit(num_clouds=2), StripSplit(num_clouds=2, wire="fp32")], ids=told)
def test_without_guidance_rows_are_one_a_picture(tiny_sd, spec):
    truth = seen(tiny_sd, Plain(), guidance_scale=1.0)
    view = seen(tiny_sd, spec, ["cloud-2"], guidance_scale=1.0)
    reader, plain = reader_of(view), reader_of(truth)
    agree(reader.predictions(view), plain.predictions(truth))
    agree(reader.features(view, "mid_block.resnets.0.conv1"), plain.features(truth, "mid_block.resnets.0.conv1"))
    untold = dataclasses.replace(view, settings=None)
    assert reader.num_pictures(untold) == 2


def test_sizes_are_found_without_settings(tiny_sd):
    view = seen(tiny_sd, SPLITS[2], ["cloud-2"], is_told=False)
    latents = LayerSplitReader().latents(view)
    assert len(latents[0].values) == 2
    assert math.isnan(latents[0].timestep)
    assert latents[0].window.size == latents[0].values.shape[2:]


def test_text_is_told_or_lacked(tiny_sd):
    truth = seen(tiny_sd, Plain())
    embeds = reader_of(truth).text(truth).embeds
    for spec in (
        StripSplit(num_clouds=2, cross_attention="cloud"),
        StripSplit(num_clouds=2, cross_attention="cloud", overlap="halves"),
    ):
        view = seen(tiny_sd, spec, ["cloud-2"])
        assert torch.allclose(reader_of(view).text(view).embeds, embeds, atol=1e-5)
    parted = StripSplit(num_clouds=4, cross_attention="cloud", cfg_clouds="separate")
    alone, both = seen(tiny_sd, parted, ["cloud-4"]), seen(tiny_sd, parted, ["cloud-1", "cloud-4"])
    assert reader_of(alone).text(alone).half is Half.PROMPT
    assert torch.allclose(reader_of(alone).text(alone).embeds, embeds[2:], atol=1e-5)
    assert torch.allclose(reader_of(both).text(both).embeds, embeds, atol=1e-5)
    for spec in (StripSplit(num_clouds=2), LayerSplit(num_clouds=2, offload=frozenset({"norm"}))):
        view = seen(tiny_sd, spec)
        with pytest.raises(LacksInput, match="not shown"):
            reader_of(view).text(view)
    view = seen(tiny_sd, SPLITS[2], ["cloud-2"])
    assert all(key.shape[0] == 4 for key, _ in reader_of(view).text(view).projections.values())


@pytest.mark.parametrize("spec", [SPLITS[1], StripSplit(num_clouds=2)], ids=told)
def test_what_keeps_names_is_enough(tiny_sd, spec):
    full = recorded(tiny_sd, spec)
    reader = {"layer-split": LayerSplitReader(), "strip-split": StripSplitReader()}[spec.name]

    def kept(what):
        def thinned(entry):
            keeps = reader.keeps(what, entry.kind, entry.values)
            return entry if keeps else dataclasses.replace(entry, tensors=dict.fromkeys(entry.tensors))

        transcripts = {
            name: dataclasses.replace(t, entries=tuple(map(thinned, t.entries))) for name, t in full.transcripts.items()
        }
        return dataclasses.replace(full, transcripts=transcripts)

    for what, read in (
        ("latents", reader.latents),
        ("predictions", reader.predictions),
        ("mid_block.resnets.0.norm1", lambda view: reader.features(view, "mid_block.resnets.0.norm1")),
    ):
        settings = seen(tiny_sd, spec).settings
        view = dataclasses.replace(RunView.of(kept(what), tiny_sd), settings=settings)
        assert all(map(torch.equal, *([m.values for m in read(v)] for v in (view, seen(tiny_sd, spec)))))


def test_a_prompt_set_shows_texts_latents_and_noise(portraits):
    spec = PromptSet(server_steps="1-1-1")
    clouds = KeptClouds(InProcessClouds(served(portraits), 1), keep_all)
    prompts = ["a photo of an old man with a hat", "a young woman with red hair"]
    in_process(portraits, spec, clouds=clouds)(
        prompts, num_inference_steps=2, generator=torch.Generator().manual_seed(3), output_type="latent"
    )
    view = RunView.of(clouds.taken(), portraits)
    reader = reader_of(view)
    texts = reader.prompts(view)
    assert reader.num_pictures(view) == 2
    assert len(texts) == 2
    assert len(reader.latents(view)[0].values) == sum(map(len, texts))
    assert len(reader.noise(view).values) == 2
    with pytest.raises(LacksInput):
        reader.predictions(view)


def test_a_homomorphic_run_shows_what_is_not_encrypted(tiny_sd):
    pytest.importorskip("tenseal")
    truth = seen(tiny_sd, Plain())
    plain = reader_of(truth)
    view = seen(tiny_sd, Homomorphic(mode="paper", denoiser="cloud", accept_plaintext_unet=True))
    reader = reader_of(view)
    agree(reader.latents(view), plain.latents(truth), tolerance=1e-2)
    agree(reader.predictions(view), plain.predictions(truth), tolerance=1e-2)
    assert torch.equal(reader.text(view).embeds, plain.text(truth).embeds)
    clients = seen(tiny_sd, Homomorphic(mode="paper"))
    assert {each.half for each in reader.predictions(clients)} == {Half.GUIDED}
    sealed = seen(tiny_sd, Homomorphic())
    for read in (reader.latents, reader.predictions, reader.text, reader.feature_paths):
        with pytest.raises(LacksInput):
            read(sealed)
