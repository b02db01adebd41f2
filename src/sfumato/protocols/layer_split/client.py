"""The client half of ``layer-split``: cut, send, gather, layer by layer.

Source: PPIDM, Algorithm 1.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sfumato.models.denoiser import Conditioning, Denoiser, predict
from sfumato.models.layers import Layer, layers_of, require_plain_attention
from sfumato.models.weights import Wanted
from sfumato.protocols.client_half import BY_CLIENT, BY_CLOUDS, Shares, StepwiseClient
from sfumato.protocols.group_norm import merge_as_published, merge_exact, normalise
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
from sfumato.protocols.partition import Partition, window
from sfumato.protocols.replies import checked
from sfumato.tensors import FeatureMap, GuidedPrediction, Latent
from sfumato.transport.base import Channel
from sfumato.wire.dtypes import WIRE_DTYPES


class LayerSplitClient(StepwiseClient):
    """Runs the U-Net's control flow, and asks the clouds for the layers that the spec offloads.

    Run by: client.
    Reveals: see :class:`~sfumato.protocols.layer_split.spec.LayerSplit`.
    """

    def __init__(self, spec: LayerSplit):
        self._spec = spec

    def shares(self, unet: nn.Module, repeats: int) -> Callable[[Layer], Shares]:  # noqa: ARG002
        """The spec's choice."""
        away = self._spec.effective_offload
        return lambda layer: BY_CLOUDS if layer.kind in away else BY_CLIENT

    def keeps(self, unet: nn.Module) -> Wanted:
        """Convolutions that run on the clouds are not loaded; norms are, because the client scales and shifts."""
        away = {"conv", "pointwise_conv"} & self._spec.effective_offload
        paths = {path for path, kind, _ in layers_of(unet) if kind in away}
        return lambda parameter: parameter.rpartition(".")[0] not in paths

    def check(self, unet: nn.Module, latent_shape: tuple[int, ...], num_rows: int) -> None:  # noqa: ARG002
        """Ordinary attention, and no more clouds than the deepest feature map has rows."""
        require_plain_attention(unet, self._spec.name)
        self._layout(unet, latent_shape)

    def _layout(self, unet: nn.Module, latent_shape: tuple[int, ...]) -> "_Layout":
        config: Any = unet.config
        height, width = latent_shape[-2:]
        return _Layout(Partition(height, self._spec.num_clouds, len(config.block_out_channels)), width)

    @contextmanager
    def denoiser(self, unet: nn.Module, channel: Channel) -> Iterator[Denoiser]:
        """Gives a denoiser whose offloaded layers run on the clouds.

        Raises:
            Unsupported: the model has layers that cannot be cut this way.
            ValueError: more clouds than the deepest feature map has rows.
        """
        require_plain_attention(unet, self._spec.name)

        def remote(latent: Latent, timestep: Tensor, conditioning: Conditioning) -> GuidedPrediction:
            link.layout = self._layout(unet, tuple(latent.shape))
            return predict(unet, latent, timestep, conditioning)

        link = _Link(self._spec, channel)
        with torch.no_grad(), link.replacing(unet):
            yield remote


class _Layout:
    """Rows of each strip, for maps and for token sequences of one picture size."""

    def __init__(self, partition: Partition, width: int):
        self.partition = partition
        self._shapes: dict[int, tuple[int, int]] = {}
        for height in partition.heights():
            self._shapes[height * width] = (height, width)
            width = -(-width // 2)

    def token_strips(self, num_tokens: int) -> list[slice]:
        """Which tokens of a flattened feature map belong to each strip."""
        height, width = self._shapes[num_tokens]
        return [slice(r.start * width, r.stop * width) for r in self.partition.strips(height)]


class _Link:
    """Stands in for the forwards of offloaded layers."""

    layout: _Layout

    def __init__(self, spec: LayerSplit, channel: Channel):
        self._spec = spec
        self._channel = channel
        self._dtype = WIRE_DTYPES[spec.wire_dtype]

    @contextmanager
    def replacing(self, unet: nn.Module) -> Iterator[None]:
        """Puts this link in place of the offloaded layers of ``unet``, and takes it away again."""
        with ExitStack() as undo:
            for path, kind, module in layers_of(unet):
                if kind not in self._spec.effective_offload:
                    continue
                layer: Any = module
                if kind.endswith("attention"):
                    undo.callback(layer.set_processor, layer.processor)
                    layer.set_processor(_SplitAttention(self, path, layer.is_cross_attention))
                else:
                    layer.forward = partial(self.group_norm if kind == "norm" else self.convolve, path, layer)
                    undo.callback(delattr, layer, "forward")
            yield

    def convolve(
        self, path: str, conv: nn.Conv2d, features: FeatureMap
    ) -> Float[Tensor, "batch out_channel out_height out_width"]:
        """PPIConv: strips of output rows, each with exactly the input rows it needs."""
        kernel, stride, padding = conv.kernel_size[0], conv.stride[0], _row_padding(conv)
        height = features.shape[-2]
        out_height = (height + 2 * padding - kernel) // stride + 1
        kind = PointwiseStrip if kernel == 1 and conv.kernel_size[1] == 1 else ConvStrip
        sent = features.to(self._dtype)
        out_width = (features.shape[-1] + 2 * _column_padding(conv) - conv.kernel_size[1]) // conv.stride[1] + 1
        requests, shapes = [], []
        for strip in self.layout.partition.strips(out_height):
            need = window(strip, height, kernel=kernel, stride=stride, padding=padding)
            rows = sent[:, :, need.rows.start : need.rows.stop]
            requests.append(kind(path=path, rows=rows, pad_top=need.pad_top, pad_bottom=need.pad_bottom))
            shapes.append((features.shape[0], conv.out_channels, strip.num_rows, out_width))
        answers = [r.rows for r in self._channel.exchange(requests, Strip)]
        return torch.cat(checked(self._channel, answers, shapes, self._dtype, path), dim=2).to(features.dtype)

    def group_norm(self, path: str, norm: nn.GroupNorm, features: FeatureMap) -> FeatureMap:
        """PPIGN: the clouds return statistics of their strips, the client merges and normalises."""
        strips = self.layout.partition.strips(features.shape[-2])
        sent = features.to(self._dtype)
        requests = [NormStrip(path=path, rows=sent[:, :, r.start : r.stop]) for r in strips]
        replies = self._channel.exchange(requests, Moments)
        shapes = [(features.shape[0], norm.num_groups)] * len(strips)
        means, variances = [r.mean for r in replies], [r.variance for r in replies]
        mean = torch.stack(checked(self._channel, means, shapes, torch.float32, path))
        # Below zero only by rounding, or by a cloud that errs; a root of it would be no number.
        variance = torch.stack(checked(self._channel, variances, shapes, torch.float32, path)).clamp_min(0)
        if self._spec.merge == "paper":
            merged = merge_as_published(mean, variance)
        else:
            merged = merge_exact(mean, variance, torch.tensor([float(r.num_rows) for r in strips], device=mean.device))
        return normalise(features, *merged, norm)

    def attend(self, path: str, is_cross: bool, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """PPIAtt: the queries of each strip, with all keys and values."""
        kind = CrossAttentionStrip if is_cross else SelfAttentionStrip
        sent = [t.to(self._dtype) for t in (query, key, value)]
        requests = [
            kind(path=path, query=sent[0][:, tokens], key=sent[1], value=sent[2])
            for tokens in self.layout.token_strips(query.shape[1])
        ]
        answers = [r.rows for r in self._channel.exchange(requests, Strip)]
        shapes = [tuple(r.query.shape) for r in requests]
        return torch.cat(checked(self._channel, answers, shapes, self._dtype, path), dim=1).to(query.dtype)


class _SplitAttention:
    """A diffusers attention processor whose products run on the clouds; projections stay here."""

    def __init__(self, link: _Link, path: str, is_cross: bool):
        self._link = link
        self._path = path
        self._is_cross = is_cross

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        if attention_mask is not None:
            raise AssertionError("attention masks are refused before the first message")
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        hidden_states = self._link.attend(self._path, self._is_cross, query, key, value)
        return attn.to_out[1](attn.to_out[0](hidden_states))


def _row_padding(conv: nn.Conv2d) -> int:
    return conv.padding[0] if isinstance(conv.padding, tuple) else 0


def _column_padding(conv: nn.Conv2d) -> int:
    return conv.padding[1] if isinstance(conv.padding, tuple) else 0
