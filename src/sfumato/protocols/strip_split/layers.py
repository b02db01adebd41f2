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
from sfumato.protocols.strip_split.tiling import Halo, Reach
from sfumato.tensors import FeatureMap

Statistics = Float[Tensor, "two rows group"]
Tokens = Float[Tensor, "rows token features"]
Convolved = Float[Tensor, "batch out_channel out_height out_width"]


class Neighbours(ABC):
    """What a tile learns of the others, at the places where they meet. Each call waits for an answer."""

    @abstractmethod
    def surroundings(self, path: str, level: int, reach: Reach, own: FeatureMap, norm: nn.GroupNorm | None) -> "Around":
        """The needed cells around a tile, itself included, and the whole map's statistics if there is a norm."""

    @abstractmethod
    def whole_statistics(self, path: str, own: FeatureMap, norm: nn.GroupNorm) -> Statistics:
        """The whole map's group statistics, without cells."""

    @abstractmethod
    def attended(self, path: str, own: FeatureMap, norm: nn.GroupNorm | None, width: int) -> "Reply":
        """What attention over the whole map makes of ``own``, ``width`` channels, at the tile's cells."""


class Around(NamedTuple):
    """A tile with the cells around it that the next layer needs."""

    cells: FeatureMap
    halo: Halo
    statistics: Statistics | None


class Reply(NamedTuple):
    """Attention's answer."""

    cells: FeatureMap
    statistics: Statistics | None


# The functions below are suspended in the middle, while the client works: no_type_check keeps run-time checks of
# shapes, which must nest, out of them.


@no_type_check
def replace_forwards(unet: nn.Module, spec: StripSplit, neighbours: Neighbours, levels: dict[str, int]) -> None:
    """Puts the tile's forwards in place; the U-Net must be this session's own copy.

    Args:
        unet: whose forwards to replace.
        spec: the session's.
        neighbours: asked where tiles meet.
        levels: of the map at each place, by path.
    """
    for path, layer in unet.named_modules():
        match layer:
            case ResnetBlock2D():
                layer.forward = partial(_residual_block, path, layer, neighbours, levels)
            case Downsample2D() | Upsample2D():
                layer.forward = partial(_resample, path, layer, neighbours, levels)
            case Transformer2DModel():
                layer.forward = partial(_transformer, path, layer, neighbours, spec)
    norm, act, conv = unet.conv_norm_out, unet.conv_act, unet.conv_out
    activate = act.forward
    norm.forward = act.forward = _as_it_is
    conv.forward = lambda x: _convolve_normalised("conv_out", neighbours, levels, x, norm, activate, conv)


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
def _residual_block(path, block, neighbours, levels, x, temb, *_, **__):
    hidden = _convolve_normalised(f"{path}.conv1", neighbours, levels, x, block.norm1, block.nonlinearity, block.conv1)
    if block.time_emb_proj is not None:
        temb = temb if block.skip_time_act else block.nonlinearity(temb)
        hidden = hidden + block.time_emb_proj(temb)[:, :, None, None]
    hidden = _convolve_normalised(
        f"{path}.conv2", neighbours, levels, hidden, block.norm2, block.nonlinearity, block.conv2
    )
    shortcut = x if block.conv_shortcut is None else block.conv_shortcut(x)
    return (shortcut + hidden) / block.output_scale_factor


@no_type_check
def _convolve_normalised(path, neighbours, levels, x, norm, act, conv):
    around = neighbours.surroundings(path, levels[path], "conv", x, norm)
    # Zeros of the picture's border come after the norm, as in the unsplit layer.
    hidden = act(normalise(around.cells, *around.statistics, norm))
    return convolve_tile(conv, hidden, around.halo)


@no_type_check
def _resample(path, layer, neighbours, levels, x, *_, **__):
    is_down = isinstance(layer, Downsample2D)
    around = neighbours.surroundings(path, levels[path], "down" if is_down else "up", x, None)
    return convolve_tile(layer.conv, around.cells, around.halo)


@no_type_check
def _transformer(path, module, neighbours, spec, x, encoder_hidden_states=None, return_dict=True, **_):
    fused = spec.attention == "fused"
    first = f"{path}.transformer_blocks.0"
    width = module.transformer_blocks[0].attn1.to_out[0].out_features
    if fused:
        delta, statistics = neighbours.attended(first, x, module.norm, width)
    else:
        statistics = neighbours.whole_statistics(f"{path}.norm", x, module.norm)
    shape = x.shape[-2:]
    hidden = project_in(module, normalise(x, *statistics, module.norm))
    for k, block in enumerate(module.transformer_blocks):
        if fused:
            if k:
                name = f"{path}.transformer_blocks.{k}"
                delta, _ = neighbours.attended(name, as_map(hidden, shape), None, width)
            hidden = hidden + as_tokens(delta)
            if spec.cross_attention == "cloud":
                hidden = hidden + block.attn2(block.norm2(hidden), encoder_hidden_states=encoder_hidden_states)
        else:
            hidden = _attend(
                f"{path}.transformer_blocks.{k}", block, neighbours, spec, hidden, shape, encoder_hidden_states
            )
        hidden = hidden + block.ff(block.norm3(hidden))
    output = x + project_out(module, hidden, shape)
    return (output,) if not return_dict else module_output(output)


@no_type_check
def _attend(path, block, neighbours, spec, hidden, shape, text):
    for name, norm, attn in (("attn1", block.norm1, block.attn1), ("attn2", block.norm2, block.attn2)):
        if name == "attn2" and spec.cross_attention == "cloud":
            return hidden + attn(norm(hidden), encoder_hidden_states=text)
        own = norm(hidden)
        if spec.attention == "qkv":
            projections = (attn.to_q, attn.to_k, attn.to_v) if name == "attn1" else (attn.to_q,)
            own = torch.cat([project(own) for project in projections], dim=-1)
        gathered, _ = neighbours.attended(f"{path}.{name}", as_map(own, shape), None, attn.inner_dim)
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
