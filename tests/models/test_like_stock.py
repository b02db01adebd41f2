"""What models ask of sampler and encoder, as stock diffusers does it."""

import json
import shutil

import diffusers
import pytest
import torch

from recorded import in_process
from sfumato.models.conditioning import PromptEncoder
from sfumato.models.folder import find_model
from sfumato.models.sampling import SCHEDULERS, make_scheduler
from sfumato.protocols.plain.spec import Plain

SMALL = {"height": 32, "width": 32, "num_inference_steps": 2, "seed": 1, "output_type": "latent"}


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "euler"])
def test_a_model_that_predicts_velocity_gives_stock_pictures(tiny_sd, tmp_path, scheduler):
    copy = shutil.copytree(tiny_sd.path, tmp_path / "model")
    config = copy / "scheduler/scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"prediction_type": "v_prediction"}))
    stock = diffusers.StableDiffusionPipeline.from_pretrained(copy)
    stock.set_progress_bar_config(disable=True)
    stock.scheduler = getattr(diffusers, SCHEDULERS[scheduler]).from_config(stock.scheduler.config)
    generator = torch.Generator().manual_seed(1)
    common = {k: v for k, v in SMALL.items() if k != "seed"} | {"guidance_scale": 5.0}
    theirs = stock("x", generator=generator, **common).images
    ours = in_process(find_model(copy), Plain(), scheduler)("x", **SMALL).images
    assert (ours - theirs).abs().max() <= 1e-4 * max(1.0, theirs.abs().max())


def test_tokens_that_the_encoder_does_not_read_are_counted(tiny_sd):
    encoder = PromptEncoder(tiny_sd)
    room = encoder.num_tokens - 2
    assert [encoder.surplus_tokens("a" * n) for n in (1, room, room + 1, room + 50)] == [0, 0, 1, 50]


def test_ddim_does_not_clip_latents_unless_the_model_says_so(portraits, tiny_sd, tmp_path):
    assert "clip_sample" not in portraits.config("scheduler")
    assert not make_scheduler(portraits, "ddim").config.clip_sample
    copy = shutil.copytree(tiny_sd.path, tmp_path / "model")
    config = copy / "scheduler/scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"clip_sample": True}))
    assert make_scheduler(find_model(copy), "ddim").config.clip_sample
