"""Latents to pictures, on the client."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from sfumato.tensors import Latent


@torch.no_grad()
def decode(decoder: nn.Module, latents: Latent) -> Float[Tensor, "batch rgb picture_height picture_width"]:
    """Decodes latents to pictures in [0, 1], as diffusers' pipelines do."""
    return decoded(decoder, latents)


def decoded(decoder: nn.Module, latents: Latent) -> Float[Tensor, "batch rgb picture_height picture_width"]:
    """The same with a gradient."""
    vae: Any = decoder
    config = vae.config
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is not None and std is not None:
        scale = torch.tensor(std).view(1, -1, 1, 1).to(latents) / config.scaling_factor
        latents = latents * scale + torch.tensor(mean).view(1, -1, 1, 1).to(latents)
    else:
        latents = latents / config.scaling_factor
    pictures = vae.decode(latents, return_dict=False)[0]
    return (pictures / 2 + 0.5).clamp(0, 1)


def to_uint8(pictures: Float[Tensor, "batch rgb height width"]) -> NDArray[np.uint8]:
    """Pictures as bytes, shape (batch, height, width, 3)."""
    array = pictures.permute(0, 2, 3, 1).float().numpy()
    return (array * 255).round().astype(np.uint8)


def scale_factor(decoder: nn.Module) -> int:
    """Pixels of the picture to one latent row."""
    config: Any = decoder.config
    return int(2 ** (len(config.block_out_channels) - 1))
