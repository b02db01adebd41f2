"""The small model of `prompt-set`'s client: the parts of `portraits`, and a U-Net of a quarter of the size."""

import re

import pytest
import torch
from safetensors.torch import load_file

from sfumato.models.folder import BUNDLED, bundled_models

LARGE, FOLDER = BUNDLED / "portraits", BUNDLED / "portraits-device"

# The stock pipeline warns that the autoencoder is a tiny one.
pytestmark = pytest.mark.filterwarnings("ignore")


def num_unet_parameters(folder):
    weights = load_file(folder / "unet/diffusion_pytorch_model.safetensors")
    return sum(weight.numel() for weight in weights.values())


def test_is_found_by_name():
    assert "portraits-device" in bundled_models()


@pytest.mark.parametrize("part", ["text_encoder", "tokenizer", "vae", "scheduler"])
def test_all_but_the_unet_is_that_of_portraits(part):
    files = sorted(file.relative_to(LARGE) for file in (LARGE / part).iterdir())
    assert files == sorted(file.relative_to(FOLDER) for file in (FOLDER / part).iterdir())
    for file in files:
        assert (LARGE / file).read_bytes() == (FOLDER / file).read_bytes()


def test_unet_has_at_most_a_quarter_of_the_parameters():
    assert 4 * num_unet_parameters(FOLDER) <= num_unet_parameters(LARGE)


def test_folder_is_small():
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= 6e6


def test_card_states_data_limits_and_quality():
    card = (FOLDER / "README.md").read_text()
    for heading in ("Data", "Training", "Limits", "Measured quality"):
        assert re.search(rf"^## {heading}$", card, re.MULTILINE)


def test_stock_pipeline_paints_what_is_asked():
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER)
    pipeline.set_progress_bar_config(disable=True)
    pictures = [
        pipeline(
            f"a woman, {colour} background",
            num_inference_steps=4,
            guidance_scale=5.0,
            generator=torch.Generator().manual_seed(1),
            output_type="np",
        ).images[0]
        for colour in ("red", "blue")
    ]
    corners = [picture[:12, :12].mean((0, 1)) for picture in pictures]
    assert corners[0].argmax() == 0
    assert corners[1].argmax() == 2
