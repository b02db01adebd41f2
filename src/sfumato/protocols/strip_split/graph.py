"""Where tiles meet: every place of a U-Net at which a cloud must wait for the others, in order."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from torch import nn

from sfumato.errors import Unsupported
from sfumato.models.layers import require_plain_attention
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.protocols.strip_split.tiling import Reach


class Ahead(NamedTuple):
    """A sampler whose surroundings come with the answer of the attention before it, in place of a round of its own."""

    path: str
    reach: Reach
    channels: int
    """Of the transformer's input, and in a transformer of several blocks of the hidden state too."""


class Place(NamedTuple):
    """Where all clouds stop, and go on with the client's answer or, where they may, with each other's messages."""

    path: str
    kind: Literal["border", "block", "self_attention", "cross_attention", "norm"]
    level: int
    """Of the map, 0 at the top."""
    channels: int
    """Of the cells that clouds send."""
    width: int
    """Channels of the cells that they are answered."""
    reach: Reach = "conv"
    num_groups: int = 0
    """Of the group norm whose statistics are merged here; 0 where there is none."""
    skip: str | None = None
    """The place whose surroundings hold those of the skip connection's channels, which are not exchanged again."""
    ahead: Ahead | None = None
    """What else the answer brings."""
    is_alike: bool = False
    """Whether the guidance halves are still the same when they come here, and are sent once."""
    parts_halves: bool = False
    """Whether the answer is the first thing in which they differ."""
    is_direct: bool = False
    """Whether clouds meet here without the client, and go on with what they sent each other."""


class Route(NamedTuple):
    """All places of a step."""

    first: tuple[Place, ...]
    """Those before and with the first attention, where the client computes so far itself: answered by ``Begin``."""
    rest: tuple[Place, ...]

    @property
    def asked(self) -> tuple[Place, ...]:
        """Where clouds ask the client: one round each."""
        return tuple(place for place in self.rest if not place.is_direct)

    @property
    def direct(self) -> tuple[Place, ...]:
        """Where clouds meet without the client: one exchange each."""
        return tuple(place for place in self.rest if place.is_direct)

    @property
    def all(self) -> tuple[Place, ...]:
        """Every place."""
        return self.first + self.rest


def route_of(unet: nn.Module, spec: StripSplit, *, reuses: bool = False) -> Route:
    """Every place in the order of the U-Net's own forward.

    Args:
        unet: whose layers to walk along.
        spec: says what is exchanged.
        reuses: whether the step takes attention's results from an earlier one.
    """
    found = list(_walk(unet, spec))
    found = _without_attention(found) if reuses else _with_samplers_ahead(found, spec)
    found = _without_repetition(found, unet, spec, reuses)
    num_first = 0
    if spec.stem_is_client:
        last = "norm" if reuses else "block"
        num_first = 1 + next((i for i, place in enumerate(found) if place.kind == last), -1)
    is_direct = spec.borders == "direct"
    rest = [p._replace(is_direct=is_direct and p.kind in ("border", "norm")) for p in found[num_first:]]
    return Route(tuple(found[:num_first]), tuple(rest))


def routes_of(unet: nn.Module, spec: StripSplit) -> tuple[Route, Route]:
    """The route of a step, and that of one that uses attention's results again."""
    return route_of(unet, spec), route_of(unet, spec, reuses=True)


def stem_of(unet: nn.Module, spec: StripSplit) -> tuple[str, ...]:
    """Paths of the layers in front of the first attention, if the client computes them."""
    if not spec.stem_is_client:
        return ()
    convolved = {p.path.removesuffix(".conv1").removesuffix(".conv2") for p in route_of(unet, spec).first[:-1]}
    return ("conv_in", "time_embedding", "add_embedding", *sorted(convolved))


def _with_samplers_ahead(found: list[Place], spec: StripSplit) -> list[Place]:
    """Lets a sampler's surroundings come with the attention right before it."""
    if spec.attention != "fused" or spec.sampler_borders == "asked":
        return found
    out: list[Place] = []
    for place in found:
        if place.kind == "border" and place.reach != "conv" and out and out[-1].kind == "block":
            num_maps = 1 if out[-1].num_groups else 2
            out[-1] = out[-1]._replace(ahead=Ahead(place.path, place.reach, num_maps * place.channels))
        else:
            out.append(place)
    return out


def _without_attention(found: list[Place]) -> list[Place]:
    """Leaves of attention the statistics of the group norm before it."""
    out: list[Place] = []
    for place in found:
        if place.kind in ("border", "norm"):
            out.append(place)
        elif place.kind == "block" and place.num_groups:
            path = f"{place.path.rsplit('.', 2)[0]}.norm"
            out.append(Place(path, "norm", place.level, place.channels, place.channels, num_groups=place.num_groups))
    return out


def _without_repetition(found: list[Place], unet: Any, spec: StripSplit, reuses: bool) -> list[Place]:
    """Marks where the guidance halves, which differ in the text alone, are still the same."""
    if unet.config.addition_embed_type is not None or spec.cfg_clouds == "separate" or spec.overlap == "halves":
        return found
    last = "cross_attention" if spec.attention != "fused" else "block"
    if spec.cross_attention == "cloud" and spec.attention != "fused":
        last = "self_attention"
    if reuses:
        last = "norm"
    reads_text = spec.cross_attention == "client" and not reuses
    out = []
    is_alike = True
    for place in found:
        is_last = is_alike and place.kind == last
        out.append(place._replace(is_alike=is_alike, parts_halves=is_last and reads_text))
        is_alike = is_alike and not is_last
    return out


def _walk(unet: Any, spec: StripSplit) -> Iterator[Place]:
    level, width = 0, unet.conv_in.out_channels
    # Where each skip connection's map first meets its surroundings, and its channels.
    skips: list[tuple[str, int]] = []
    for i, block in enumerate(unet.down_blocks):
        for place in _stage(f"down_blocks.{i}", block, level, spec):
            if place.path.endswith(".conv1"):
                skips.append((place.path, place.channels))
            yield place
        for j, sampler in enumerate(block.downsamplers or ()):
            path = f"down_blocks.{i}.downsamplers.{j}"
            skips.append((path, sampler.channels))
            yield _border(path, level, sampler.channels, "down")
            level += 1
        width = block.resnets[-1].out_channels
    if unet.mid_block is not None:
        skips.append(("mid_block.resnets.0.conv1", width))
        yield from _stage("mid_block", unet.mid_block, level, spec, attention_after_first=True)
    else:
        skips.append(("up_blocks.0.resnets.0.conv1", width))
    for i, block in enumerate(unet.up_blocks):
        for place in _stage(f"up_blocks.{i}", block, level, spec):
            if place.path.endswith(".conv1"):
                path, channels = skips.pop()
                if path != place.path:
                    rest = place.channels - channels
                    place = place._replace(channels=rest, width=rest, skip=path)
            yield place
        for j, sampler in enumerate(block.upsamplers or ()):
            path = f"up_blocks.{i}.upsamplers.{j}"
            yield _border(path, level, sampler.channels, "up")
            level -= 1
    yield _border("conv_out", 0, unet.conv_out.in_channels, norm=unet.conv_norm_out)


def _border(path: str, level: int, channels: int, reach: Reach = "conv", norm: Any = None) -> Place:
    num_groups = 0 if norm is None else norm.num_groups
    return Place(path, "border", level, channels, channels, reach, num_groups)


def _stage(
    path: str, block: Any, level: int, spec: StripSplit, *, attention_after_first: bool = False
) -> Iterator[Place]:
    attentions = list(getattr(block, "attentions", None) or ())
    for i, resnet in enumerate(block.resnets):
        name = f"{path}.resnets.{i}"
        yield _border(f"{name}.conv1", level, resnet.conv1.in_channels, norm=resnet.norm1)
        yield _border(f"{name}.conv2", level, resnet.conv2.in_channels, norm=resnet.norm2)
        if i < len(attentions):
            yield from _transformer(f"{path}.attentions.{i}", attentions[i], level, spec)
    assert not attention_after_first or len(attentions) == len(block.resnets) - 1


def _transformer(path: str, module: Any, level: int, spec: StripSplit) -> Iterator[Place]:
    norm = module.norm
    if spec.attention != "fused":
        yield Place(f"{path}.norm", "norm", level, norm.num_channels, norm.num_channels, num_groups=norm.num_groups)
    for k, layer in enumerate(module.transformer_blocks):
        block, attn = f"{path}.transformer_blocks.{k}", layer.attn1
        width = attn.to_out[0].out_features
        if spec.attention == "fused":
            if k == 0:
                yield Place(block, "block", level, norm.num_channels, width, num_groups=norm.num_groups)
            else:
                yield Place(block, "block", level, attn.query_dim, width)
            continue
        sends_products = spec.attention == "qkv"
        sent = 3 * attn.inner_dim if sends_products else attn.query_dim
        yield Place(f"{block}.attn1", "self_attention", level, sent, attn.inner_dim)
        if spec.cross_attention == "client":
            attn = layer.attn2
            sent = attn.inner_dim if sends_products else attn.query_dim
            yield Place(f"{block}.attn2", "cross_attention", level, sent, attn.inner_dim)


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
