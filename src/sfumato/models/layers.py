"""Where a U-Net may be cut, and what each of its layers costs.

The kinds are the ones that split protocols tell apart. FLOPs are multiply-adds times two of convolutions, linear layers
and attention products; normalisation and activations are below one percent of them and are not counted.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sfumato.errors import Unsupported

LayerKind = Literal["conv", "pointwise_conv", "norm", "self_attention", "cross_attention", "linear"]
LAYER_KINDS: tuple[LayerKind, ...] = get_args(LayerKind)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a U-Net as it was called in one pass."""

    path: str
    kind: LayerKind
    flops: int
    num_parameters: int
    """Of convolutions and linear layers; for attention those of its projections, which are listed as linear too."""
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    num_text_tokens: int = 0
    """Length of K and V, for attention."""


def layer_kind(module: nn.Module) -> LayerKind | None:
    """Says what kind of layer a module is, or None where a cut is never made."""
    from diffusers.models.attention_processor import Attention

    match module:
        case nn.Conv2d():
            return "pointwise_conv" if prod(module.kernel_size) == 1 else "conv"
        case nn.GroupNorm():
            return "norm"
        case nn.Linear():
            return "linear"
        case Attention():
            return "cross_attention" if module.is_cross_attention else "self_attention"
    return None


def layers_of(unet: nn.Module) -> Iterator[tuple[str, LayerKind, nn.Module]]:
    """Every layer with its path and kind, in the order of definition."""
    for path, module in unet.named_modules():
        if kind := layer_kind(module):
            yield path, kind, module


def require_plain_attention(unet: nn.Module, protocol: str) -> None:
    """Refuses attention that a split protocol would compute wrongly.

    Raises:
        Unsupported: an attention layer has a norm, mask path, added K and V or a custom processor.
    """
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    for path, kind, module in layers_of(unet):
        if kind not in ("self_attention", "cross_attention"):
            continue
        layer: Any = module
        extras = ("group_norm", "spatial_norm", "norm_q", "norm_k", "norm_cross", "add_k_proj", "add_q_proj")
        found = [name for name in extras if getattr(layer, name, None) is not None]
        if found or layer.residual_connection or layer.rescale_output_factor != 1.0:
            raise Unsupported(
                f"{protocol} cannot split {path}: it has {', '.join(found) or 'a residual of its own'}; "
                "use protocol plain, or a model with ordinary transformer blocks"
            )
        if not isinstance(layer.processor, AttnProcessor | AttnProcessor2_0):
            raise Unsupported(
                f"{protocol} cannot split {path}: it runs {type(layer.processor).__name__}; "
                "unload adapters, or use protocol plain"
            )


def sharing_copy(module: nn.Module) -> Any:
    """A copy of a module tree whose layers can be changed on their own, and which shares every weight."""
    copied = module.__new__(type(module))
    copied.__dict__.update(module.__dict__)
    copied._modules = {name: None if child is None else sharing_copy(child) for name, child in module._modules.items()}
    return copied


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _measure(path: str, kind: LayerKind, module: Any, args: Any, kwargs: Any, output: Any) -> Layer:
    hidden = args[0] if args else kwargs["hidden_states"]
    shape, out, tokens = _shape(hidden), _shape(output), 0
    flops, size = 0, sum(p.numel() for p in module.parameters())
    if isinstance(module, nn.Conv2d):
        flops = 2 * prod(out) * (module.in_channels // module.groups) * prod(module.kernel_size)
    elif isinstance(module, nn.Linear):
        flops = 2 * prod(out) * module.in_features
    elif kind.endswith("attention"):
        context = kwargs.get("encoder_hidden_states")
        tokens = shape[1] if context is None else context.shape[1]
        flops = 4 * shape[0] * shape[1] * tokens * module.inner_dim
    return Layer(
        path=path,
        kind=kind,
        flops=flops,
        num_parameters=size,
        input_shape=shape,
        output_shape=out,
        num_text_tokens=tokens,
    )


@contextmanager
def measured(unet: nn.Module) -> Iterator[list[Layer]]:
    """Collects a :class:`Layer` for each layer called inside the block; the module may be on the meta device."""
    calls: list[Layer] = []

    def watch(path: str, kind: LayerKind, module: nn.Module) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            calls.append(_measure(path, kind, module, args, kwargs, output))

        return module.register_forward_hook(hook, with_kwargs=True)

    hooks = [watch(*layer) for layer in layers_of(unet)]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def counted_flops() -> Iterator[Callable[[], int]]:
    """Counts what is computed inside the block, on any device; call the result for the FLOPs so far."""
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={on_cpu: attention}) as counter:
        yield counter.get_total_flops
