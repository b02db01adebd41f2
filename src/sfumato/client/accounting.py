"""Counts the work of a run on each side: the client's as it happens, the U-Net's from its layers."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import nn

from sfumato.client.report import Compute
from sfumato.models.denoiser import Conditioning, meta_conditioning, predict
from sfumato.models.folder import ModelFolder
from sfumato.models.layers import Layer, counted_flops, measured
from sfumato.models.loading import meta_unet
from sfumato.models.weights import weight_bytes
from sfumato.protocols.base import ClientHalf


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


class Accounting:
    """One run's work."""

    def __init__(self, model: ModelFolder, half: ClientHalf):
        self._model = model
        self._half = half
        self._client_flops = 0

    @contextmanager
    def client_work(self) -> Iterator[None]:
        """Counts what the client computes inside the block."""
        with counted_flops() as total:
            yield
        self._client_flops += total()

    def compute(
        self,
        *,
        unet: nn.Module,
        others: Iterable[nn.Module],
        latent_shape: tuple[int, ...],
        conditioning: Conditioning,
        num_calls: int,
    ) -> Compute:
        """Adds the U-Net's layers to what was counted.

        Args:
            unet: the client's, with what it did not load on the meta device.
            others: the text encoders and the decoder.
            latent_shape: batch first.
            conditioning: of the run.
            num_calls: U-Net calls.
        """
        layers = unet_layers(self._model, latent_shape, conditioning.batch, conditioning.prompt_embeds.shape[1])
        shares_of = self._half.shares(unet, conditioning.batch // latent_shape[0])
        client = cloud = 0
        for layer in layers:
            shares = shares_of(layer)
            client += round(layer.flops * shares.client) * (1 if shares.is_once else num_calls)
            cloud += round(layer.flops * shares.clouds) * num_calls
        bytes_each = conditioning.prompt_embeds.element_size()
        absent = sum(p.numel() for p in unet.parameters() if p.is_meta)
        return Compute(
            client_flops=self._client_flops + client,
            cloud_flops=cloud,
            client_weight_bytes=sum(weight_bytes(m) for m in (unet, *others)),
            cloud_weight_bytes=absent * bytes_each,
        )
