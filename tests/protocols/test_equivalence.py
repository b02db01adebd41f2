"""Every protocol's result equals the unsplit model's."""

import numpy as np
import pytest
import torch

from sfumato.models.sampling import SCHEDULERS
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.simulation import simulate

PROMPT, STEPS, SEED = "a red hat", 5, 3
ALL_LAYERS = frozenset({"conv", "pointwise_conv", "self_attention", "cross_attention", "norm"})


def stock(folder, scheduler, **arguments):
    import diffusers

    pipe = diffusers.DiffusionPipeline.from_pretrained(folder.path)
    pipe.set_progress_bar_config(disable=True)
    # What Stable Diffusion's pipeline does to a scheduler that it is made with, and not to one that it is given later.
    changed = {"ddim": {"clip_sample": False}, "plms": {"skip_prk_steps": True}}.get(scheduler, {})
    pipe.scheduler = getattr(diffusers, SCHEDULERS[scheduler]).from_config(pipe.scheduler.config, **changed)
    generator = torch.Generator("cpu").manual_seed(SEED)
    return pipe(PROMPT, num_inference_steps=STEPS, generator=generator, output_type="latent", **arguments).images


def ours(folder, spec, scheduler="ddim", **arguments):
    pipe = simulate(folder, spec, scheduler=scheduler)
    arguments = {"guidance_scale": 5.0, "num_inference_steps": STEPS, "seed": SEED, "output_type": "latent"} | arguments
    return pipe(PROMPT, **arguments)


def assert_close(ours, theirs, tolerance=1e-4):
    """To ``tolerance`` of the latent's own scale."""
    assert (ours - theirs).abs().max() <= tolerance * max(1.0, theirs.abs().max())


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_plain_equals_stock_diffusers_on_portraits(portraits, scheduler):
    theirs = stock(portraits, scheduler, guidance_scale=5.0)
    assert (ours(portraits, Plain(), scheduler).images - theirs).abs().max() <= 1e-4


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
def test_plain_equals_stock_diffusers_on_sdxl(tiny_sdxl, scheduler, guidance_scale):
    theirs = stock(tiny_sdxl, scheduler, guidance_scale=guidance_scale)
    assert_close(ours(tiny_sdxl, Plain(), scheduler, guidance_scale=guidance_scale).images, theirs)


def test_negative_prompts_sizes_and_several_pictures_as_in_stock_diffusers(tiny_sd):
    arguments = {"negative_prompt": "blue", "num_images_per_prompt": 2, "height": 40, "width": 24}
    theirs = stock(tiny_sd, "ddim", guidance_scale=4.0, **arguments)
    assert_close(ours(tiny_sd, Plain(), guidance_scale=4.0, **arguments).images, theirs)


def test_sdxl_negative_prompt_and_size_as_in_stock_diffusers(tiny_sdxl):
    arguments = {"negative_prompt": "blue", "height": 48, "width": 32}
    theirs = stock(tiny_sdxl, "euler", guidance_scale=4.0, **arguments)
    assert_close(ours(tiny_sdxl, Plain(), "euler", guidance_scale=4.0, **arguments).images, theirs)


EXACT = [
    LayerSplit(num_clouds=1),
    LayerSplit(num_clouds=2),
    LayerSplit(num_clouds=3, offload=ALL_LAYERS),
    LayerSplit(num_clouds=4, cross_attention="client"),
    *(LayerSplit(num_clouds=2, offload=frozenset({kind})) for kind in sorted(ALL_LAYERS)),
]


@pytest.mark.parametrize("spec", EXACT, ids=lambda s: f"n{s.num_clouds}-{'+'.join(sorted(s.effective_offload))}")
def test_layer_split_is_exact(tiny_sd, spec):
    assert_close(ours(tiny_sd, spec).images, ours(tiny_sd, Plain()).images)


def test_layer_split_is_exact_on_sdxl(tiny_sdxl):
    spec = LayerSplit(num_clouds=2, offload=ALL_LAYERS)
    assert_close(ours(tiny_sdxl, spec, "euler").images, ours(tiny_sdxl, Plain(), "euler").images)


@pytest.mark.parametrize("rows", [36, 44, 52])
def test_layer_split_is_exact_on_heights_that_clouds_do_not_divide(tiny_sd, rows):
    arguments = {"height": rows, "width": 32, "num_inference_steps": 2}
    assert_close(
        ours(tiny_sd, LayerSplit(num_clouds=3), **arguments).images, ours(tiny_sd, Plain(), **arguments).images
    )


@pytest.mark.parametrize("change", [{"merge": "paper"}, {"wire_dtype": "fp16"}, {"wire_dtype": "bf16"}], ids=str)
def test_lossy_settings_are_close_and_different(tiny_sd, change):
    exact = ours(tiny_sd, Plain()).images
    lossy = ours(tiny_sd, LayerSplit(num_clouds=4, **change)).images
    error = (lossy - exact).abs().mean() / exact.abs().mean()
    assert 1e-6 < error < 0.3


def test_pictures_on_portraits_are_the_same_to_60_db(portraits):
    pictures = [
        ours(portraits, spec, output_type="np", num_inference_steps=10).images.astype(np.float64)
        for spec in (Plain(), LayerSplit(num_clouds=4))
    ]
    error = np.square(pictures[0] - pictures[1]).mean()
    assert error <= 255**2 / 10**6
