"""Counts what the PPIDM paper counted, so that its tables can be checked cell by cell.

Source: Wang et al. 2025, "PPIDM: Privacy-Preserving Inference for Diffusion Model in the Cloud", IEEE TCSVT,
doi 10.1109/TCSVT.2025.3553514, Tables VIII, IX and X and section V.E. The paper gives sizes but no formulas; the rules
below are the ones that yield its cells. A real run sends more: see :mod:`sfumato.cost.counting`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sfumato.cost.link import Link
from sfumato.cost.published_cells import cells, notes
from sfumato.cost.result import FLOAT_BYTES, Compute, Cost, Sizes, TopicCost
from sfumato.models.counting import unet_layers
from sfumato.models.folder import ModelFolder
from sfumato.models.layers import Layer
from sfumato.models.skeleton import Skeleton, whole_skeleton
from sfumato.protocols.base import Spec
from sfumato.protocols.layer_split.spec import LayerSplit

NORM_PASSES = 2
"""Table X's uploads are two U-Net passes, both guidance halves; Tables VIII and IX are one.

Source: Table X total, 85.93 MB for n = 4, is twice the 61 norms' inputs.
"""

NORM_DOWN_REPEATS = 4
"""How often Table X's download total holds each norm's statistics.

Source: Table X, .059 MB is 244 = 4 x 61 times 256 B. Two passes explain a factor of two; the other is not explained.
"""

STATISTICS = 2
"""Mean and variance of each group. Source: section IV-C, PPIGN; Table X, .0002 MB is 32 groups x 2 x 4 B."""

HALO_ROWS = 2
"""Border rows of every strip of a convolution, counted at the picture's edge too.

Source: Table VIII, uploads; "edge preservation" of section IV-C.
"""


@dataclass(frozen=True)
class _Messages:
    """Bytes of one layer at one cloud."""

    layer: Layer
    up: int
    down: int


def count_as_published(
    model: ModelFolder, spec: Spec, link: Link, *, height: int | None = None, width: int | None = None
) -> Cost:
    """Counts one denoising step by the paper's rules.

    Args:
        model: its configurations are enough.
        spec: of layer-split; only its number of clouds is used, as the paper has one setting.
        link: rates only; the paper models no round trips.
        height, width: of the picture in pixels; None for the model's own size.

    Raises:
        ValueError: another protocol, or a number of clouds that does not divide every feature map's height.
    """
    if not isinstance(spec, LayerSplit):
        raise ValueError(f"only {LayerSplit.name} was published, got {spec.name}: leave out --as-published")
    parts = whole_skeleton(model)
    rows, columns = parts.latent_size(height, width)
    layers = unet_layers(model, (1, parts.config.in_channels, rows, columns), 1, parts.num_tokens)
    check_clouds(spec.num_clouds, layers)
    tables = _tables(layers, spec.num_clouds, parts.config.norm_num_groups)
    counted = parts.parameters()
    published = cells(tables, counted, link)
    return Cost(
        model=model.name,
        protocol=spec.name,
        spec=spec.to_dict(),
        clouds=spec.num_clouds,
        height=rows * parts.pixels_per_latent_row,
        width=columns * parts.pixels_per_latent_row,
        rounds=sum(t.rounds for t in tables.values()),
        seconds_per_step=published["seconds"]["step"],
        link=str(link),
        parameters=counted,
        per_cloud=tables,
        once=None,
        compute=_compute(parts, layers, tables, (rows, columns), spec.num_clouds),
        notes=notes(published, tables, model.name, link),
        published=published,
    )


def _compute(
    parts: Skeleton,
    layers: Sequence[Layer],
    tables: Mapping[str, TopicCost],
    latent: tuple[int, int],
    num_clouds: int,
) -> Compute:
    """Work of one pass; the client holds all but the counted convolutions."""
    counted = parts.parameters()
    away = sum(x.num_parameters for x in layers if _is_counted_conv(x))
    cloud_flops = sum(t.cloud_flops for t in tables.values())
    return Compute(
        client_flops=sum(layer.flops for layer in layers) - cloud_flops,
        cloud_flops=cloud_flops,
        busiest_cloud_flops=cloud_flops // num_clouds,
        client_weight_bytes=FLOAT_BYTES * (counted.text_encoder + counted.vae_decoder + counted.unet - away),
        text_encoder_flops=parts.text_flops(1),
        vae_decoder_flops=parts.decoder_flops(*latent),
    )


def check_clouds(num_clouds: int, layers: Sequence[Layer]) -> None:
    """Refuses numbers of clouds for which the paper's formulas give no whole rows.

    Raises:
        ValueError: says which numbers can be used.
    """
    heights = {layer.input_shape[2] for layer in layers if layer.kind == "conv"}
    possible = [n for n in range(2, min(heights) + 1) if all(h % n == 0 for h in heights)]
    if num_clouds not in possible:
        raise ValueError(
            f"counting as published needs strips of equal height: clouds must be one of "
            f"{', '.join(map(str, possible))}, got {num_clouds}; or leave out --as-published"
        )


def _conv(layer: Layer, n: int) -> _Messages:
    """Rows of the input with two border rows up, rows of the output down. Source: Table VIII."""
    _, channels, height, width = layer.input_shape
    _, out_channels, out_height, out_width = layer.output_shape
    up = channels * width * (height // n + HALO_ROWS) * FLOAT_BYTES
    return _Messages(layer, up, out_channels * out_width * out_height // n * FLOAT_BYTES)


def _attention(layer: Layer, n: int) -> _Messages:
    """Q of the strip with K and V of all text tokens up, the strip's output down. Source: Table IX."""
    _, tokens, width = layer.input_shape
    strip = tokens * width // n * FLOAT_BYTES
    return _Messages(layer, strip + 2 * layer.num_text_tokens * width * FLOAT_BYTES, strip)


def _norm(layer: Layer, n: int, num_groups: int) -> _Messages:
    """Rows of the input up, mean and variance of each group down. Source: Table X."""
    _, channels, *positions = layer.input_shape
    size = channels * FLOAT_BYTES
    for extent in positions:
        size *= extent
    return _Messages(layer, size // n, num_groups * STATISTICS * FLOAT_BYTES)


def _is_counted_conv(layer: Layer) -> bool:
    # Source: Table VIII counts 51 of the 52 convolutions larger than 1x1. With conv_in, n = 4 would upload 47.04 MB
    # with a minimum of .017; without it, 47.03 and .15 as printed.
    return layer.kind == "conv" and layer.path != "conv_in"


def _tables(layers: Sequence[Layer], n: int, num_groups: int) -> dict[str, TopicCost]:
    # Source: Table IX counts cross-attention only: 16 layers.
    convs = [_conv(x, n) for x in layers if _is_counted_conv(x)]
    attention = [_attention(x, n) for x in layers if x.kind == "cross_attention"]
    norms = [_norm(x, n, num_groups) for x in layers if x.kind == "norm"]
    return {
        "conv": _topic(convs, n, _largest_upload),
        "cross_attention": _topic(attention, n, _largest_query),
        "norm": _topic(norms, n, _largest_upload, up_repeats=NORM_PASSES, down_repeats=NORM_DOWN_REPEATS),
    }


def _largest_upload(messages: Sequence[_Messages]) -> int:
    return max(m.up for m in messages)


def _largest_query(messages: Sequence[_Messages]) -> int:
    # Source: Table IX, n = 8, prints .81: the upload of the layers with the most queries. The layers at a quarter
    # of the latent's height upload more there (.90), because K and V are not cut.
    return max(messages, key=lambda m: m.down).up


def _topic(
    messages: Sequence[_Messages],
    n: int,
    largest: Callable[[Sequence[_Messages]], int],
    *,
    up_repeats: int = 1,
    down_repeats: int = 1,
) -> TopicCost:
    up = up_repeats * sum(m.up for m in messages)
    down = down_repeats * sum(m.down for m in messages)
    downs = [m.down for m in messages]
    return TopicCost(
        rounds=len(messages),
        up=Sizes(min=min(m.up for m in messages), max=largest(messages), total=up, all_clouds=n * up),
        down=Sizes(min=min(downs), max=max(downs), total=down, all_clouds=n * down),
        cloud_flops=sum(m.layer.flops for m in messages),
    )
