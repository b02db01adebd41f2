"""With the bundled model the white-box attack comes as near as its autoencoder can; minutes."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny

from inverting_views import view_of, whole_picture
from sfumato.attacks.inversion.harness import clipped
from sfumato.attacks.inversion.white_box import WhiteBox
from sfumato.metrics.pictures import psnr
from sfumato.models.hub import quiet_diffusers
from sfumato.portraits.samples import sample


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_features_of_the_identity_cut_give_the_picture_up_to_the_autoencoders_limit(portraits):
    originals = np.stack([sample(np.random.default_rng(seed))[0] for seed in (7, 8)])
    pictures = torch.from_numpy(originals).permute(0, 3, 1, 2).float() / 255
    view = view_of(pictures, whole_picture, portraits)
    guess = WhiteBox(iterations=150, sampling_steps=2, memory_gib=4.0).run(view)
    reached = psnr(clipped(guess.pictures), originals)
    assert (reached >= ceiling(portraits, pictures, originals) - 3).all()


def ceiling(model, pictures, originals):
    """The PSNR of pictures that the autoencoder has encoded and decoded again."""
    with quiet_diffusers():
        autoencoder = AutoencoderTiny.from_pretrained(model.path / "vae", low_cpu_mem_usage=False).float()
    with torch.no_grad():
        latents = autoencoder.encode(pictures * 2 - 1).latents
        decoded = autoencoder.decode(latents).sample / 2 + 0.5
    return psnr(clipped(decoded), originals)
