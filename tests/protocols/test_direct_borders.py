"""Clouds that meet without the client find what they find through it."""

import pytest
import torch

from passes import error, random_inputs, split_pass, unsplit_pass
from sfumato.protocols.strip_split.spec import StripSplit

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
