import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato.portraits import caption, draw_attributes
from sfumato.portraits.captions import count_pieces

FOLDER = Path(str(files("sfumato"))) / "models/bundled/portraits"

# The stock pipeline warns that the autoencoder is a tiny one.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def pipeline():
    from diffusers import StableDiffusionPipeline

    loaded = StableDiffusionPipeline.from_pretrained(FOLDER)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_folder_is_small():
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= 25e6


def test_card_states_data_limits_and_quality():
    card = (FOLDER / "README.md").read_text()
    for heading in ("Data", "Training", "Limits", "Measured quality"):
        assert re.search(rf"^## {heading}$", card, re.MULTILINE)


def test_captions_fit_the_tokenizer_and_are_whole_words(pipeline):
    generator = np.random.default_rng(9)
    for _ in range(300):
        text = caption(draw_attributes(generator), generator, leave_out=0.0)
        ids = pipeline.tokenizer(text)["input_ids"]
        assert len(ids) == count_pieces(text) + 2 <= pipeline.tokenizer.model_max_length == 48


def test_stock_pipeline_paints_what_is_asked(pipeline):
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
    assert pictures[0].shape == (128, 128, 3)
    corners = [picture[:12, :12].mean((0, 1)) for picture in pictures]
    assert corners[0].argmax() == 0
    assert corners[1].argmax() == 2


def test_deepest_map_has_eight_rows(pipeline):
    config = pipeline.unet.config
    assert config.sample_size // 2 ** (len(config.block_out_channels) - 1) == 8
