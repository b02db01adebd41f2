"""Pictures to latents."""

import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from sfumato.errors import ModelError
from sfumato.models.decoding import decode
from sfumato.models.encoding import encode
from sfumato.models.folder import find_model
from sfumato.models.hub import quiet_diffusers
from sfumato.models.loading import load_decoder, load_encoder


def test_a_picture_comes_back_from_its_latent(portraits):
    pytest.importorskip("skia")
    from sfumato.portraits.samples import sample

    painted, _, _ = sample(np.random.default_rng(7))
    picture = torch.from_numpy(painted / 255).float().permute(2, 0, 1)[None]
    latents = encode(load_encoder(portraits), picture)
    assert latents.shape == (1, 4, 32, 32)
    back = decode(load_decoder(portraits), latents)
    assert -10 * torch.log10((back - picture).square().mean()) > 25
    assert not any(p.requires_grad for p in load_encoder(portraits).parameters())


@pytest.mark.parametrize("statistics", [{}, {"latents_mean": [0.5, 0, -1, 2], "latents_std": [1, 2, 0.5, 3]}])
def test_it_is_what_diffusers_encodes_and_what_decoding_undoes(tiny_sd, statistics):
    encoder = load_encoder(tiny_sd)
    encoder.register_to_config(**statistics)
    pictures = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    with quiet_diffusers():
        stock = AutoencoderKL.from_pretrained(tiny_sd.path / "vae", low_cpu_mem_usage=False)
    mean = stock.encode(pictures * 2 - 1).latent_dist.mean
    latents = encode(encoder, pictures)
    if statistics:
        shift, scale = (torch.tensor(s).view(1, 4, 1, 1) for s in statistics.values())
        mean = (mean - shift) / scale
    assert torch.allclose(latents, mean * 0.18215, atol=1e-5)
    decoder = load_decoder(tiny_sd)
    decoder.register_to_config(**statistics)
    seen = []
    decoder.decode = lambda x, return_dict: (seen.append(x), [x])[1]
    decode(decoder, latents)
    assert torch.allclose(seen[0], stock.encode(pictures * 2 - 1).latent_dist.mean, atol=1e-4)


@pytest.mark.parametrize("size", [(15, 16), (16, 17), (0, 16)])
def test_a_size_that_has_no_latent_is_refused(tiny_sd, size):
    with pytest.raises(ValueError, match="must be positive multiples of 2 for this model, got"):
        encode(load_encoder(tiny_sd), torch.zeros(1, 3, *size))


def test_a_model_without_an_encoder_is_refused(tiny_sd, tmp_path):
    copy = shutil.copytree(tiny_sd.path, tmp_path / "model")
    file = copy / "vae/diffusion_pytorch_model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if not k.startswith("encoder.")}, file)
    with pytest.raises(ModelError, match="tensors of its vae are missing, first encoder"):
        load_encoder(find_model(copy))
    assert load_decoder(find_model(copy))


def test_models_with_one_autoencoder_have_one_fingerprint_of_it(portraits, tiny_sd):
    device = find_model("portraits-device")
    assert portraits.vae_fingerprint == device.vae_fingerprint
    assert portraits.vae_fingerprint != tiny_sd.vae_fingerprint
    assert portraits.unet_fingerprint != device.unet_fingerprint
