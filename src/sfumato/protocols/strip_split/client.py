"""The client half of ``strip-split``: merge, pass on, attend."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.models.denoiser import Conditioning, Denoiser
from sfumato.models.layers import Layer
from sfumato.models.weights import Wanted
from sfumato.protocols.client_half import BY_CLOUDS, Shares, StepwiseClient
from sfumato.protocols.strip_split.attending import Attention
from sfumato.protocols.strip_split.graph import require_splittable, route_of, routes_of, stem_of
from sfumato.protocols.strip_split.hosting import Host
from sfumato.protocols.strip_split.lanes import lanes_of, lead
from sfumato.protocols.strip_split.packing import Memory
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.protocols.strip_split.stem import Stem
from sfumato.protocols.strip_split.tiling import Tiling, tiling_of
from sfumato.tensors import GuidedPrediction, Latent
from sfumato.transport.base import Channel


class StripSplitClient(StepwiseClient):
    """Serves the clouds where their tiles meet; the prompt and the guidance stay here.

    Run by: client.
    Reveals: see :class:`~sfumato.protocols.strip_split.spec.StripSplit`.
    """

    def __init__(self, spec: StripSplit):
        self._spec = spec

    def shares(self, unet: nn.Module, repeats: int) -> Callable[[Layer], Shares]:
        """Attention's products on the client; of its projections what ``attention`` and ``cross_attention`` say."""
        spec, route, stem = self._spec, route_of(unet, self._spec), stem_of(unet, self._spec)
        is_fused = spec.attention == "fused"
        # The transformer up to whose text the guidance halves are the same, if they are.
        alike = next((p.path for p in route.all if p.is_alike and p.kind in ("block", "self_attention")), "")
        if route.first and getattr(unet.config, "addition_embed_type", None) is None:
            alike = route.first[-1].path
        transformer = alike.partition(".transformer_blocks.")[0] or None

        def of_client(layer: Layer) -> Shares:
            is_text = layer.path.endswith((".attn2.to_k", ".attn2.to_v"))
            return Shares(1.0 / repeats if is_shared(layer) else 1.0, 0.0, is_once=is_text)

        def is_shared(layer: Layer) -> bool:
            if transformer is None or not layer.path.startswith(f"{transformer}."):
                return False
            first = layer.path.startswith((f"{transformer}.proj_in", f"{transformer}.transformer_blocks.0."))
            return first and (".attn2" not in layer.path or layer.path.endswith(".to_q"))

        def shares(layer: Layer) -> Shares:
            if layer.path.startswith(tuple(f"{path}." for path in stem)) or layer.path in stem:
                return Shares(1.0 / repeats if transformer else 1.0, 1.0)
            if ".attn2" in layer.path and spec.cross_attention == "cloud":
                return BY_CLOUDS
            if is_fused and layer.path.endswith(".proj_in"):
                return of_client(layer)._replace(clouds=1.0)
            if layer.kind in ("self_attention", "cross_attention") or _is_attention(layer.path, spec):
                return of_client(layer)
            return BY_CLOUDS

        return shares

    def keeps(self, unet: nn.Module) -> Wanted:
        """The weights of the stem and of the attention that the client computes."""
        spec, stem = self._spec, stem_of(unet, self._spec)

        def wanted(parameter: str) -> bool:
            module = parameter.rpartition(".")[0]
            if any(parameter.startswith(f"{path}.") for path in stem):
                return True
            if ".attn2" in parameter and spec.cross_attention == "cloud":
                return False
            if spec.attention == "fused" and ".attentions." in parameter:
                ends = (".proj_in", ".norm1", ".norm2")
                is_norm = module.endswith(".norm") and "transformer_blocks" not in module
                if is_norm or module.endswith(ends[: 2 if spec.cross_attention == "cloud" else 3]):
                    return True
            return _is_attention(module, spec)

        return wanted

    def check(self, unet: nn.Module, latent_shape: tuple[int, ...], num_rows: int) -> None:
        """Layers that can be split, no more tiles than fit the deepest map, and guidance where halves go apart."""
        require_splittable(unet)
        self._tiling(unet, latent_shape)
        lanes_of(self._spec, latent_shape[0], num_rows)

    def _tiling(self, unet: nn.Module, latent_shape: tuple[int, ...]) -> Tiling:
        config: Any = unet.config
        spec, (height, width) = self._spec, latent_shape[-2:]
        return tiling_of(spec.num_tiles, spec.num_columns, height, width, len(config.block_out_channels))

    @contextmanager
    def denoiser(self, unet: nn.Module, channel: Channel) -> Iterator[Denoiser]:
        """Gives a denoiser that runs on the clouds and meets here.

        Raises:
            Unsupported: the model has layers that cannot be cut this way.
            ValueError: more tiles than the deepest map can be cut into.
        """
        require_splittable(unet)
        routes, attention, memory = routes_of(unet, self._spec), Attention(unet, self._spec), Memory()
        stem = Stem(unet, self._spec, routes, attention) if routes[0].first else None
        told: Conditioning | None = None
        step = -1

        @torch.no_grad()
        def remote(latent: Latent, timestep: Tensor, conditioning: Conditioning) -> GuidedPrediction:
            nonlocal told, step
            step += 1
            tiling = self._tiling(unet, tuple(latent.shape))
            lanes = lanes_of(self._spec, latent.shape[0], conditioning.batch)
            attention.begin(conditioning.prompt_embeds)
            reuses = self._spec.reuses_attention(step)
            first = stem.run(latent, timestep, conditioning, reuses=reuses) if stem else []
            news = None if told is conditioning else conditioning
            told = conditioning
            walks = []
            for lane in lanes:
                host = Host(self._spec, channel, tiling, lane, attention, memory, step, latent.dtype)
                begin = host.begin(latent, float(timestep), news, first, unet)
                walks.append(host.walk(begin, routes[reuses].asked, unet))
            return torch.cat(lead(channel, walks))

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
