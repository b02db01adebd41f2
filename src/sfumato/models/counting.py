"""A model's U-Net, counted layer by layer without its weights."""

from functools import lru_cache

import torch

from sfumato.models.denoiser import meta_conditioning, predict
from sfumato.models.folder import ModelFolder
from sfumato.models.layers import Layer, measured
from sfumato.models.loading import meta_unet


@lru_cache(maxsize=16)
def unet_layers(model: ModelFolder, shape: tuple[int, ...], batch: int, num_tokens: int) -> tuple[Layer, ...]:
    """Counts one U-Net call on the meta device.

    Args:
        model: whose configuration to use; no weights are read.
        shape: of the latent, batch first.
        batch: rows of the call, guidance halves included.
        num_tokens: of each prompt.

    Returns:
        The layers in the order of their calls.
    """
    unet = meta_unet(model)
    conditioning = meta_conditioning(unet.config, batch=batch, num_tokens=num_tokens)
    latent = torch.empty((batch, *shape[1:]), device="meta")
    with torch.no_grad(), measured(unet) as calls:
        predict(unet, latent, torch.tensor(1.0, device="meta"), conditioning)
    return tuple(calls)
