"""Pictures to latents, on the client: what decoding undoes."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sfumato.models.decoding import scale_factor
from sfumato.tensors import Latent


@torch.no_grad()
def encode(encoder: nn.Module, pictures: Float[Tensor, "batch rgb picture_height picture_width"]) -> Latent:
    """Encodes pictures in [0, 1] to the latents that :func:`~sfumato.models.decoding.decode` takes.

    An encoder that gives a distribution gives its mean: one picture has one latent.

    Raises:
        ValueError: height or width is not a multiple of the encoder's.
    """
    vae: Any = encoder
    config, factor = vae.config, scale_factor(encoder)
    height, width = pictures.shape[-2:]
    if height % factor or width % factor or not height * width:
        raise ValueError(
            f"height and width of a picture must be positive multiples of {factor} for this model, got {height} and "
            f"{width}: cut or resize it"
        )
    encoded = vae.encode(pictures * 2 - 1)
    latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mean
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is not None and std is not None:
        latents = (latents - torch.tensor(mean).view(1, -1, 1, 1).to(latents)) / torch.tensor(std).view(1, -1, 1, 1).to(
            latents
        )
    return latents * config.scaling_factor
