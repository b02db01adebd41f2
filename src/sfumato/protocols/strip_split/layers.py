"""The U-Net's layers on one tile: what a cloud runs in place of diffusers' own forwards.

Only these classes are replaced: residual blocks, down- and upsamplers, transformers, the first and the last
convolution. Everything else, and the order of it all, is diffusers' U-Net.
"""

from abc import ABC, abstractmethod
from functools import partial
from typing import Any, NamedTuple, no_type_check

import torch
import torch.nn.functional as F
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from jaxtyping import Float
from torch import Tensor, nn

from sfumato.protocols.group_norm import normalise
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.protocols.strip_split.tiling import Halo
from sfumato.tensors import FeatureMap

Statistics = Float[Tensor, "two rows group"]
Tokens = Float[Tensor, "rows token features"]
Convolved = Float[Tensor, "batch out_channel out_height out_width"]


class Neighbours(ABC):
    """What a tile learns of the others, at the places where they meet. Each call may wait for an answer."""

    @abstractmethod
    def surroundings(self, path: str, own: FeatureMap, norm: nn.GroupNorm | None) -> "Around":
        """The needed cells around a tile, itself included, and the whole map's statistics if there is a norm."""

    @abstractmethod
    def whole_statistics(self, path: str, own: FeatureMap, norm: nn.GroupNorm) -> Statistics:
        """The whole map's group statistics, without cells."""

    @abstractmethod
    def attended(self, path: str, own: FeatureMap, norm: nn.GroupNorm | None) -> "Reply":
        """What attention over the whole map makes of ``own`` at the tile's cells."""

    @abstractmethod
    def know(self, path: str, ring: FeatureMap) -> None:
        """Takes the cells around a tile at a place before it is come to, as a map of one row."""


class Around(NamedTuple):
    """A tile with the cells around it that the next layer needs."""

    cells: FeatureMap
    halo: Halo
    statistics: Statistics | None


class Ring(NamedTuple):
    """The cells around a tile on their way through a transformer's last block, each a map of one row."""

    path: str
    """The sampler that comes next and will read them."""
    delta: FeatureMap
    """What attention adds to them."""
    x: FeatureMap
    """The transformer's input."""
    hidden: FeatureMap | None = None
    """The hidden state before the block; None before the first one, where it follows from ``x``."""


class Reply(NamedTuple):
    """Attention's answer."""

    cells: FeatureMap
    statistics: Statistics | None
    ring: Ring | None = None


# The functions below are suspended in the middle, while the client works: no_type_check keeps run-time checks of
# shapes, which must nest, out of them.


@no_type_check
def replace_forwards(unet: nn.Module, spec: StripSplit, neighbours: Neighbours) -> None:
    """Puts the tile's forwards in place; the U-Net must be a copy of the caller's own.

    Args:
        unet: whose forwards to replace.
        spec: the session's.
        neighbours: asked where tiles meet.
    """
    for path, layer in unet.named_modules():
        match layer:
            case ResnetBlock2D():
                layer.forward = partial(_residual_block, path, layer, neighbours)
            case Downsample2D() | Upsample2D():
                layer.forward = partial(_resample, path, layer, neighbours)
            case Transformer2DModel():
                layer.forward = partial(_transformer, path, layer, neighbours, spec)
    norm, act, conv = unet.conv_norm_out, unet.conv_act, unet.conv_out
    activate = act.forward
    norm.forward = act.forward = _as_it_is
    conv.forward = lambda x: _convolve_normalised("conv_out", neighbours, x, norm, activate, conv)


def convolve_tile(conv: nn.Conv2d, cells: FeatureMap, halo: Halo) -> Convolved:
    """A convolution's output on a tile, from the cells that it needs; zeros beyond the picture's border."""
    top, left = halo.needed.rows.start, halo.needed.columns.start
    if halo.is_doubled:
        cells = F.interpolate(cells, scale_factor=2.0, mode="nearest")
        top, left = 2 * top, 2 * left
        cells = cells[:, :, : halo.limit[0] - top, : halo.limit[1] - left]
    bottom, right = top + cells.shape[2], left + cells.shape[3]
    rows, columns = halo.read
    framed = F.pad(cells, (left - columns.start, columns.stop - right, top - rows.start, rows.stop - bottom))
    return F.conv2d(framed, conv.weight, conv.bias, conv.stride, 0)


def _as_it_is(x: Tensor) -> Tensor:
    return x


@no_type_check
def _residual_block(path, block, neighbours, x, temb, *_, **__):
    hidden = _convolve_normalised(f"{path}.conv1", neighbours, x, block.norm1, block.nonlinearity, block.conv1)
    if block.time_emb_proj is not None:
        temb = temb if block.skip_time_act else block.nonlinearity(temb)
        hidden = hidden + block.time_emb_proj(temb)[:, :, None, None]
    hidden = _convolve_normalised(f"{path}.conv2", neighbours, hidden, block.norm2, block.nonlinearity, block.conv2)
    shortcut = x if block.conv_shortcut is None else block.conv_shortcut(x)
    return (shortcut + hidden) / block.output_scale_factor


@no_type_check
def _convolve_normalised(path, neighbours, x, norm, act, conv):
    around = neighbours.surroundings(path, x, norm)
    # Zeros of the picture's border come after the norm, as in the unsplit layer.
    hidden = act(normalise(around.cells, *around.statistics, norm))
    return convolve_tile(conv, hidden, around.halo)


@no_type_check
def _resample(path, layer, neighbours, x, *_, **__):
    around = neighbours.surroundings(path, x, None)
    return convolve_tile(layer.conv, around.cells, around.halo)


@no_type_check
def _transformer(path, module, neighbours, spec, x, encoder_hidden_states=None, return_dict=True, **_):
    if spec.attention == "fused":
        output = x + _fused(path, module, neighbours, spec, x, encoder_hidden_states)
    else:
        output = x + _unfused(path, module, neighbours, spec, x, encoder_hidden_states)
    return (output,) if not return_dict else module_output(output)


@no_type_check
def _fused(path, module, neighbours, spec, x, text):
    """What a transformer adds to its input, attention answered block by block."""
    shape = x.shape[-2:]
    for k, block in enumerate(module.transformer_blocks):
        name = f"{path}.transformer_blocks.{k}"
        if k == 0:
            reply = neighbours.attended(name, x, module.norm)
            statistics = reply.statistics
            hidden = project_in(module, normalise(x, *statistics, module.norm))
        else:
            reply = neighbours.attended(name, as_map(hidden, shape), None)
        if ring := reply.ring:
            is_first = ring.hidden is None
            around = (
                project_in(module, normalise(ring.x, *statistics, module.norm)) if is_first else as_tokens(ring.hidden)
            )
            around = _after_attention(block, spec, around + as_tokens(ring.delta), text)
            neighbours.know(ring.path, ring.x + project_out(module, around, ring.x.shape[-2:]))
        hidden = _after_attention(block, spec, hidden + as_tokens(reply.cells), text)
    return project_out(module, hidden, shape)


@no_type_check
def _after_attention(block, spec, hidden, text):
    if spec.cross_attention == "cloud":
        hidden = hidden + block.attn2(block.norm2(hidden), encoder_hidden_states=text)
    return hidden + block.ff(block.norm3(hidden))


@no_type_check
def _unfused(path, module, neighbours, spec, x, text):
    """The same, with the attention layers asked for one by one."""
    statistics = neighbours.whole_statistics(f"{path}.norm", x, module.norm)
    shape = x.shape[-2:]
    hidden = project_in(module, normalise(x, *statistics, module.norm))
    for k, block in enumerate(module.transformer_blocks):
        hidden = _attend(f"{path}.transformer_blocks.{k}", block, neighbours, spec, hidden, shape, text)
        hidden = hidden + block.ff(block.norm3(hidden))
    return project_out(module, hidden, shape)


@no_type_check
def _attend(path, block, neighbours, spec, hidden, shape, text):
    for name, norm, attn in (("attn1", block.norm1, block.attn1), ("attn2", block.norm2, block.attn2)):
        if name == "attn2" and spec.cross_attention == "cloud":
            return hidden + attn(norm(hidden), encoder_hidden_states=text)
        own = norm(hidden)
        if spec.attention == "qkv":
            projections = (attn.to_q, attn.to_k, attn.to_v) if name == "attn1" else (attn.to_q,)
            own = torch.cat([project(own) for project in projections], dim=-1)
        gathered = neighbours.attended(f"{path}.{name}", as_map(own, shape), None).cells
        hidden = hidden + attn.to_out[0](as_tokens(gathered))
    return hidden


def module_output(sample: Tensor) -> Any:
    """A transformer's output as diffusers hands it on."""
    from diffusers.models.modeling_outputs import Transformer2DModelOutput

    return Transformer2DModelOutput(sample=sample)


def as_tokens(features: FeatureMap) -> Tokens:
    """A map as tokens, row by row."""
    return features.flatten(2).transpose(1, 2)


def as_map(tokens: Tokens, shape: tuple[int, int]) -> FeatureMap:
    """Tokens as a map."""
    return tokens.transpose(1, 2).unflatten(2, tuple(shape))


def project_in(module: Any, features: FeatureMap) -> Tokens:
    """A transformer's first projection: a 1x1 convolution in Stable Diffusion 1.x, a linear layer later."""
    if module.use_linear_projection:
        return module.proj_in(as_tokens(features))
    return as_tokens(module.proj_in(features))


def project_out(module: Any, tokens: Tokens, shape: tuple[int, int]) -> FeatureMap:
    """A transformer's last projection."""
    if module.use_linear_projection:
        return as_map(module.proj_out(tokens), shape)
    return module.proj_out(as_map(tokens, shape).contiguous())
