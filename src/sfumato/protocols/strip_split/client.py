"""The client half of ``strip-split``: merge, pass on, attend."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.models.denoiser import Conditioning, Denoiser
from sfumato.models.layers import Layer
from sfumato.models.weights import Wanted
from sfumato.protocols.base import StepwiseClient, Where
from sfumato.protocols.strip_split.attending import Attention
from sfumato.protocols.strip_split.graph import places, require_splittable
from sfumato.protocols.strip_split.hosting import Host, crew_of
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.protocols.strip_split.tiling import Tiling
from sfumato.tensors import GuidedPrediction, Latent
from sfumato.transport.base import Channel


class StripSplitClient(StepwiseClient):
    """Serves the clouds where their tiles meet; the prompt and the guidance stay here.

    Run by: client.
    Reveals: see :class:`~sfumato.protocols.strip_split.spec.StripSplit`.
    """

    def __init__(self, spec: StripSplit):
        self._spec = spec

    def where(self, layer: Layer) -> Where:
        """Attention's products on the client; of its projections what ``attention`` and ``cross_attention`` say."""
        is_cross = ".attn2" in layer.path
        if is_cross and self._spec.cross_attention == "cloud":
            return "clouds"
        if layer.kind in ("self_attention", "cross_attention"):
            return "client"
        if self._spec.attention == "fused" and layer.path.endswith(".proj_in"):
            return "both"
        return "client" if _is_attention(layer.path, self._spec) else "clouds"

    def keeps(self, unet: nn.Module) -> Wanted:  # noqa: ARG002
        """The weights of the attention that the client computes."""
        spec = self._spec

        def wanted(parameter: str) -> bool:
            module = parameter.rpartition(".")[0]
            if ".attn2" in parameter and spec.cross_attention == "cloud":
                return False
            if spec.attention == "fused" and ".attentions." in parameter:
                ends = (".proj_in", ".norm1", ".norm2")
                is_norm = module.endswith(".norm") and "transformer_blocks" not in module
                if is_norm or module.endswith(ends[: 2 if spec.cross_attention == "cloud" else 3]):
                    return True
            return _is_attention(module, spec)

        return wanted

    def check(self, unet: nn.Module, latent_shape: tuple[int, ...]) -> None:
        """Layers that can be split, and no more tiles than the deepest map has rows or columns."""
        require_splittable(unet)
        self._tiling(unet, latent_shape)

    def _tiling(self, unet: nn.Module, latent_shape: tuple[int, ...]) -> Tiling:
        config: Any = unet.config
        rows = self._spec.num_tiles // self._spec.num_columns
        height, width = latent_shape[-2:]
        return Tiling(height, width, rows, self._spec.num_columns, len(config.block_out_channels))

    @contextmanager
    def denoiser(self, unet: nn.Module, channel: Channel) -> Iterator[Denoiser]:
        """Gives a denoiser that runs on the clouds and meets here.

        Raises:
            Unsupported: the model has layers that cannot be cut this way.
            ValueError: more tiles than the deepest map can be cut into.
        """
        require_splittable(unet)
        route, attention = places(unet, self._spec), Attention(unet, self._spec)
        told: Conditioning | None = None
        step = -1

        @torch.no_grad()
        def remote(latent: Latent, timestep: Tensor, conditioning: Conditioning) -> GuidedPrediction:
            nonlocal told, step
            step += 1
            tiling = self._tiling(unet, tuple(latent.shape))
            crew = crew_of(self._spec, latent.shape[0], conditioning.batch)
            attention.begin(conditioning.prompt_embeds)
            host = Host(self._spec, channel, tiling, crew, attention, step, latent.dtype)
            begin = host.begin(latent, float(timestep), None if told is conditioning else conditioning, unet)
            told = conditioning
            return host.serve(begin, route, unet)

        yield remote


def _is_attention(module: str, spec: StripSplit) -> bool:
    """Whether a linear layer of attention is the client's."""
    parent, _, name = module.rpartition(".")
    if ".attn" not in module:
        return False
    is_cross = ".attn2" in module
    if is_cross and spec.cross_attention == "cloud":
        return False
    match spec.attention:
        case "fused":
            return True
        case "hidden":
            return name in ("to_q", "to_k", "to_v")
    return is_cross and name in ("to_k", "to_v") and bool(parent)
