"""The worker half of ``layer-split``: one strip of one layer at a time.

Source: PPIDM, Section IV-C.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato.errors import WireError
from sfumato.models.layers import layers_of
from sfumato.protocols.base import WorkerHalf
from sfumato.protocols.layer_split.spec import (
    ConvStrip,
    CrossAttentionStrip,
    LayerSplit,
    Moments,
    NormStrip,
    PointwiseStrip,
    SelfAttentionStrip,
    Strip,
)
from sfumato.wire.messages import Message


class LayerSplitWorker(WorkerHalf):
    """Computes layers on strips; keeps nothing between two requests.

    Run by: worker.
    Reveals: to the client, results on its own strips.
    """

    kinds: ClassVar[tuple[type[Message], ...]] = (
        ConvStrip,
        PointwiseStrip,
        NormStrip,
        CrossAttentionStrip,
        SelfAttentionStrip,
    )

    def __init__(self, spec: LayerSplit, unet: nn.Module, cloud_index: int):  # noqa: ARG002
        self._layers: dict[str, Any] = {
            path: module for path, kind, module in layers_of(unet) if kind in spec.effective_offload
        }

    @torch.no_grad()
    def handle(self, request: Message) -> Message:
        """Convolves, attends, or measures group statistics."""
        match request:
            case ConvStrip():
                return self._convolve(request)
            case NormStrip():
                return self._measure(request)
            case CrossAttentionStrip():
                return self._attend(request)
        raise WireError(f"layer-split does not answer {type(request).__name__}")

    def _layer(self, path: str, kind: type[nn.Module]) -> Any:
        layer = self._layers.get(path)
        if not isinstance(layer, kind):
            raise WireError(f"this session does not offload a {kind.__name__} of that name")
        return layer

    def _convolve(self, request: ConvStrip) -> Strip:
        conv = self._layer(request.path, nn.Conv2d)
        rows, top, bottom = request.rows, request.pad_top, request.pad_bottom
        if rows.shape[1] != conv.in_channels or not 0 <= min(top, bottom) <= max(top, bottom) < conv.kernel_size[0]:
            raise WireError(f"a strip of shape {tuple(rows.shape)} does not fit the convolution it names")
        padded = F.pad(rows.to(conv.weight.dtype), (0, 0, top, bottom))
        out = F.conv2d(padded, conv.weight, conv.bias, conv.stride, (0, conv.padding[1]), conv.dilation, conv.groups)
        return Strip(rows=out.to(rows.dtype))

    def _measure(self, request: NormStrip) -> Moments:
        norm = self._layer(request.path, nn.GroupNorm)
        batch, channels = request.rows.shape[:2]
        if channels != norm.num_channels:
            raise WireError(f"a strip of {channels} channels does not fit the norm it names")
        grouped = request.rows.float().reshape(batch, norm.num_groups, -1)
        variance, mean = torch.var_mean(grouped, dim=-1, correction=0)
        return Moments(mean=mean, variance=variance)

    def _attend(self, request: CrossAttentionStrip) -> Strip:
        layer = self._layer(request.path, nn.Module)
        query, key, value = (_heads(t, layer.heads) for t in (request.query, request.key, request.value))
        out = F.scaled_dot_product_attention(query, key, value)
        merged = out.transpose(1, 2).flatten(2)
        return Strip(rows=merged.to(request.query.dtype))


def _heads(tokens: Tensor, num_heads: int) -> Tensor:
    if tokens.shape[-1] % num_heads:
        raise WireError(f"tokens of width {tokens.shape[-1]} do not fit {num_heads} heads")
    return tokens.float().unflatten(-1, (num_heads, -1)).transpose(1, 2)
