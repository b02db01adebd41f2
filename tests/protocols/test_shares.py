"""Who is said to compute each layer, against what the client really computes."""

import pytest
import torch

from passes import random_inputs
from recorded import served
from sfumato.client.catalog import client_half
from sfumato.cost.dry_run import dry_run
from sfumato.models.counting import unet_layers
from sfumato.models.denoiser import meta_conditioning
from sfumato.models.loading import meta_unet
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.strip_split.spec import StripSplit

SPECS = [
    Plain(),
    LayerSplit(num_clouds=2),
    StripSplit(num_clouds=2),
    StripSplit(num_clouds=2, stem="clouds"),
    StripSplit(num_clouds=2, cross_attention="cloud"),
    StripSplit(num_clouds=2, cfg_clouds="separate"),
    StripSplit(num_clouds=2, cfg_clouds="separate", stem="clouds"),
    StripSplit(num_clouds=2, attention="hidden"),
    StripSplit(num_clouds=2, attention="qkv"),
    StripSplit(num_clouds=2, attention="qkv", cross_attention="cloud"),
]


@pytest.mark.parametrize("model", ["tiny_sd", "tiny_sdxl"])
@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.to_json())
def test_the_clients_shares_are_what_it_computes_in_a_step(request, model, spec):
    folder = request.getfixturevalue(model)
    unet = meta_unet(folder)
    latent, text = random_inputs(folder, size=(8, 8))
    num_tokens = text.prompt_embeds.shape[1]
    counted = dry_run(
        spec,
        unet,
        torch.empty(latent.shape, device="meta"),
        meta_conditioning(served(folder).unet.config, batch=2, num_tokens=num_tokens),
    )
    shares_of = client_half(spec).shares(unet, 2)
    said = 0.0
    for layer in unet_layers(folder, tuple(latent.shape), 2, num_tokens):
        shares = shares_of(layer)
        said += 0 if shares.is_once else shares.client * layer.flops
        assert 0 <= shares.client <= 1
        assert shares.client + shares.clouds > 0
    (step,) = counted.cycle
    assert said == step.client_flops
