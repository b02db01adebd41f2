"""The worker half of ``layer-split``: one strip of one layer at a time.

Source: PPIDM, Section IV-C.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from sfumato.errors import WireError
from sfumato.models.layers import layers_of
from sfumato.protocols.base import WorkerHalf
from sfumato.protocols.group_norm import group_statistics
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
        _require_numbers(rows, num_axes=4)
        height, width = rows.shape[2] + top + bottom, rows.shape[3] + 2 * conv.padding[1]
        if (
            rows.shape[1] != conv.in_channels
            or not 0 <= min(top, bottom) <= max(top, bottom) < conv.kernel_size[0]
            or height < conv.kernel_size[0]
            or width < conv.kernel_size[1]
        ):
            raise WireError(f"a strip of shape {tuple(rows.shape)} does not fit the convolution it names")
        padded = F.pad(rows.to(conv.weight.dtype), (0, 0, top, bottom))
        out = F.conv2d(padded, conv.weight, conv.bias, conv.stride, (0, conv.padding[1]), conv.dilation, conv.groups)
        return Strip(rows=out.to(rows.dtype))

    def _measure(self, request: NormStrip) -> Moments:
        norm = self._layer(request.path, nn.GroupNorm)
        _require_numbers(request.rows, num_axes=4)
        channels = request.rows.shape[1]
        if channels != norm.num_channels:
            raise WireError(f"a strip of {channels} channels does not fit the norm it names")
        mean, variance = group_statistics(request.rows, norm.num_groups)
        return Moments(mean=mean, variance=variance)

    def _attend(self, request: CrossAttentionStrip) -> Strip:
        layer = self._layer(request.path, Attention)
        tokens = (request.query, request.key, request.value)
        for each in tokens:
            _require_numbers(each, num_axes=3)
        if request.key.shape != request.value.shape or {(t.shape[0], t.shape[2]) for t in tokens} != {
            (request.query.shape[0], layer.inner_dim)
        }:
            shapes = ", ".join(str(tuple(t.shape)) for t in tokens)
            raise WireError(f"queries, keys and values of shapes {shapes} do not fit the attention they name")
        query, key, value = (_heads(t, layer.heads) for t in tokens)
        out = F.scaled_dot_product_attention(query, key, value)
        merged = out.transpose(1, 2).flatten(2)
        return Strip(rows=merged.to(request.query.dtype))


def _heads(tokens: Tensor, num_heads: int) -> Tensor:
    return tokens.float().unflatten(-1, (num_heads, -1)).transpose(1, 2)


def _require_numbers(tensor: Tensor, num_axes: int) -> None:
    if tensor.ndim != num_axes or not tensor.is_floating_point() or not tensor.numel():
        raise WireError(
            f"a tensor of shape {tuple(tensor.shape)} and format {tensor.dtype} came where one of {num_axes} axes and "
            "floating point was due"
        )
