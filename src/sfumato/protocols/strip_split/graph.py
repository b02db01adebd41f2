"""Where tiles meet: every place of a U-Net at which a cloud must wait for the others, in order."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from torch import nn

from sfumato.errors import Unsupported
from sfumato.models.layers import require_plain_attention
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.protocols.strip_split.tiling import Reach


class Place(NamedTuple):
    """One round: all clouds stop here, and go on with the client's answer."""

    path: str
    kind: Literal["border", "block", "self_attention", "cross_attention", "norm"]
    level: int
    """Of the map, 0 at the top."""
    reach: Reach = "conv"
    has_statistics: bool = True


def places(unet: nn.Module, spec: StripSplit) -> list[Place]:
    """Every place in the order of the U-Net's own forward."""
    return list(_walk(unet, spec))


def _walk(unet: Any, spec: StripSplit) -> Iterator[Place]:
    level = 0
    for i, block in enumerate(unet.down_blocks):
        yield from _stage(f"down_blocks.{i}", block, level, spec)
        for j, _ in enumerate(block.downsamplers or ()):
            yield Place(f"down_blocks.{i}.downsamplers.{j}", "border", level, "down", has_statistics=False)
            level += 1
    if unet.mid_block is not None:
        yield from _stage("mid_block", unet.mid_block, level, spec, attention_after_first=True)
    for i, block in enumerate(unet.up_blocks):
        yield from _stage(f"up_blocks.{i}", block, level, spec)
        for j, _ in enumerate(block.upsamplers or ()):
            yield Place(f"up_blocks.{i}.upsamplers.{j}", "border", level, "up", has_statistics=False)
            level -= 1
    yield Place("conv_out", "border", 0)


def _stage(
    path: str, block: Any, level: int, spec: StripSplit, *, attention_after_first: bool = False
) -> Iterator[Place]:
    attentions = list(getattr(block, "attentions", None) or ())
    for i, _ in enumerate(block.resnets):
        yield Place(f"{path}.resnets.{i}.conv1", "border", level)
        yield Place(f"{path}.resnets.{i}.conv2", "border", level)
        if i < len(attentions):
            yield from _transformer(f"{path}.attentions.{i}", attentions[i], level, spec)
    assert not attention_after_first or len(attentions) == len(block.resnets) - 1


def _transformer(path: str, module: Any, level: int, spec: StripSplit) -> Iterator[Place]:
    if spec.attention != "fused":
        yield Place(f"{path}.norm", "norm", level)
    for k, _ in enumerate(module.transformer_blocks):
        block = f"{path}.transformer_blocks.{k}"
        if spec.attention == "fused":
            yield Place(block, "block", level, has_statistics=k == 0)
            continue
        yield Place(f"{block}.attn1", "self_attention", level, has_statistics=False)
        if spec.cross_attention == "client":
            yield Place(f"{block}.attn2", "cross_attention", level, has_statistics=False)


def require_splittable(unet: nn.Module) -> None:
    """Refuses, by name, everything that would need another round than the places above.

    Raises:
        Unsupported: names the layer, and what to use.
    """
    from diffusers.models.attention import BasicTransformerBlock
    from diffusers.models.downsampling import Downsample2D
    from diffusers.models.resnet import ResnetBlock2D
    from diffusers.models.transformers.dual_transformer_2d import DualTransformer2DModel
    from diffusers.models.transformers.transformer_2d import Transformer2DModel
    from diffusers.models.upsampling import Upsample2D

    require_plain_attention(unet, StripSplit.name)
    for path, module in unet.named_modules():
        layer: Any = module
        match layer:
            case ResnetBlock2D():
                wrong = _resnet_problem(layer)
            case Downsample2D():
                wrong = "another kind of downsampling" if not _is_ordinary_downsampler(layer) else None
            case Upsample2D():
                wrong = "another kind of upsampling" if not _is_ordinary_upsampler(layer) else None
            case DualTransformer2DModel():
                wrong = "two transformers side by side"
            case Transformer2DModel():
                wrong = None if layer.is_input_continuous else "an input that is not a feature map"
            case BasicTransformerBlock():
                wrong = _block_problem(layer)
            case _:
                wrong = _root_problem(layer) if not path else None
        if wrong:
            raise Unsupported(
                f"strip-split cannot split {path or 'this U-Net'}: it has {wrong}; use protocol layer-split or plain"
            )


def _resnet_problem(layer: Any) -> str | None:
    if layer.time_embedding_norm != "default":
        return f"a time embedding of kind {layer.time_embedding_norm}"
    if layer.upsample is not None or layer.downsample is not None:
        return "a change of size inside a residual block"
    if layer.conv1.kernel_size != (3, 3) or layer.conv2.kernel_size != (3, 3):
        return "convolutions of another size than 3x3"
    return None


def _is_ordinary_downsampler(layer: Any) -> bool:
    conv = getattr(layer, "conv", None)
    return (
        layer.use_conv
        and layer.norm is None
        and isinstance(conv, nn.Conv2d)
        and (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (2, 2), (1, 1))
    )


def _is_ordinary_upsampler(layer: Any) -> bool:
    return layer.use_conv and not layer.use_conv_transpose and layer.norm is None and layer.interpolate


def _block_problem(layer: Any) -> str | None:
    if layer.norm_type != "layer_norm":
        return f"norms of kind {layer.norm_type}"
    if layer.only_cross_attention or layer.attn2 is None or not layer.attn2.is_cross_attention:
        return "two attention layers of one kind"
    if layer.pos_embed is not None or getattr(layer, "fuser", None) is not None:
        return "position embeddings or a GLIGEN gate"
    return None


def _root_problem(layer: Any) -> str | None:
    known = {
        *("DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D", "UNetMidBlock2DCrossAttn"),
    }
    blocks = [*layer.down_blocks, *([layer.mid_block] if layer.mid_block is not None else []), *layer.up_blocks]
    odd = sorted({type(b).__name__ for b in blocks} - known)
    if odd:
        return f"blocks of kind {', '.join(odd)}"
    if layer.conv_in.kernel_size != (3, 3) or layer.conv_out.kernel_size != (3, 3) or layer.conv_norm_out is None:
        return "another kind of first or last layer"
    return None
