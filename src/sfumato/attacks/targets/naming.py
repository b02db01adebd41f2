"""The paper's layer names: L4 is cut after the fourth convolution of a residual network, or a ViT's fourth block.

Source: "Unlocking Visual Secrets" (feature inversion with diffusion priors), Section 6 and Table 1. ResNet-18 is cut at
L4, L8, L12 and L16 and ResNet-50 at L12, L24, L36 and L48: their numbers of convolutions in blocks are 16 and 48, so
neither the stem nor the shortcuts' projections count, and every one of these cuts lies at the end of a block.
"""

from difflib import get_close_matches
from typing import Final

from torch import nn

from sfumato.attacks.targets.graph import INPUT, OUTPUT

_RESIDUAL_BLOCKS: Final = (
    "ResNetBasicLayer",
    "ResNetBottleNeckLayer",
    "RTDetrResNetBasicLayer",
    "RTDetrResNetBottleNeckLayer",
)
_TRANSFORMER_BLOCKS: Final = ("ViTLayer", "DeiTLayer", "CLIPEncoderLayer")
_NUM_NEAR: Final = 4


def short_names(network: nn.Module) -> dict[str, str]:
    """The paper's names of a network's layers with their paths; empty for a network of no family that it names.

    The k-th convolution that is the last of its residual block stands for the whole block, sum and activation
    included; any other for its convolution, normalisation and activation.
    """
    residual = [path for path, layer in network.named_modules() if type(layer).__name__ in _RESIDUAL_BLOCKS]
    if residual:
        return _numbered([path for block in residual for path in _convolutions(network, block)])
    return _numbered([path for path, layer in network.named_modules() if type(layer).__name__ in _TRANSFORMER_BLOCKS])


def _convolutions(network: nn.Module, block: str) -> list[str]:
    layers = network.get_submodule(f"{block}.layer")
    return [*(f"{block}.layer.{index}" for index in range(len(list(layers.children())) - 1)), block]


def _numbered(paths: list[str]) -> dict[str, str]:
    return {f"L{index}": path for index, path in enumerate(paths, start=1)}


def path_of(layer: str, network: nn.Module, paths: list[str]) -> str:
    """The path that a layer's name stands for: `input`, `output`, a paper's name such as L4, or a path.

    Args:
        layer: the name as the user wrote it.
        network: whose layers are named.
        paths: of the layers that can be cut after, `input` and `output` among them.

    Raises:
        ValueError: no layer of that name; the sentence lists near ones.
    """
    names = short_names(network)
    path = names.get(layer, layer)
    if path in paths:
        return path
    known = [*names, *paths]
    if near := get_close_matches(layer, known, n=_NUM_NEAR, cutoff=0.5):
        raise ValueError(f"{type(network).__name__} has no layer {layer!r}: near names are {', '.join(near)}")
    between = list(names) or [path for path in paths if path not in (INPUT, OUTPUT)]
    shown = [INPUT, *between[:_NUM_NEAR], OUTPUT]
    raise ValueError(
        f"{type(network).__name__} has no layer {layer!r}: it has {len(known)}, such as {', '.join(shown)}"
    )
