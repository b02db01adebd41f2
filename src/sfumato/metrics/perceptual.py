"""How alike pictures are to a network that looks at them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.metrics.checking import describe

Array = NDArray[np.floating] | torch.Tensor


def perceptual_distance(
    maps: Sequence[Array], reference_maps: Sequence[Array], channel_weights: Sequence[Array]
) -> NDArray[np.float64]:
    """The LPIPS formula over any network's feature maps: no unit, at least 0, lower is better, 0 for equal maps.

    It may be called LPIPS only where maps and weights are those of the published network. With all weights 1, each
    layer adds at most 4, and at most 2 where features are not negative. Brightness of a feature vector does not count:
    maps that differ by a positive factor are at distance 0.

    Args:
        maps, reference_maps: one floating-point array or tensor of shape (batch, channel, height, width) a layer.
        channel_weights: one a layer, of shape (channel,), none negative.

    Returns:
        One distance a picture.

    Raises:
        ValueError: lists of other lengths, other shapes or types, an empty batch, values that are not finite.

    Source: Zhang et al. 2018, arXiv 1801.03924, Eq. 1. As in the authors' code, a weight multiplies the squared
        difference: it is the square of Eq. 1's. A feature vector of length 0 stays 0.
    """
    if not len(maps) == len(reference_maps) == len(channel_weights) or len(maps) == 0:
        raise ValueError(
            "maps, reference_maps and channel_weights must each hold one item a layer, got "
            f"{len(maps)}, {len(reference_maps)} and {len(channel_weights)}; give all for the same layers"
        )
    layers = [
        _layer_distance(layer, *arrays)
        for layer, arrays in enumerate(zip(maps, reference_maps, channel_weights, strict=True))
    ]
    if len({len(distances) for distances in layers}) > 1:
        batches = [len(distances) for distances in layers]
        raise ValueError(f"maps must have one batch size in all layers, got {batches}; give all for the same pictures")
    return np.sum(layers, axis=0)


def _layer_distance(layer: int, found: Array, reference: Array, weights: Array) -> NDArray[np.float64]:
    """Distance of each picture at one layer: mean over positions of the weighted sum over channels."""
    a, b = (_checked(f"{name} of layer {layer}", x, 4) for name, x in (("maps", found), ("reference_maps", reference)))
    w = _checked(f"channel_weights of layer {layer}", weights, 1)
    if a.shape != b.shape:
        raise ValueError(
            f"maps and reference_maps of layer {layer} must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}; "
            "compare pictures of one size, in pairs"
        )
    if w.shape != a.shape[1:2] or bool((w < 0).any()):
        raise ValueError(
            f"channel_weights of layer {layer} must be {a.shape[1]} numbers of at least 0, got shape {tuple(w.shape)} "
            f"with least value {w.min():g}; give one a channel"
        )
    squared = (_unit_length(a) - _unit_length(b)).square()
    return torch.einsum("bchw,c->bhw", squared, w).mean(dim=(1, 2)).numpy()


def _unit_length(maps: torch.Tensor) -> torch.Tensor:
    """Scales the channels at each position to length 1; zero stays zero."""
    length = torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    return maps / length.where(length > 0, 1.0)


def _checked(name: str, value: Array, num_axes: int) -> torch.Tensor:
    """The argument as an fp64 tensor on the CPU, which every device can give."""
    got = describe(value)
    floats = (
        value.is_floating_point()
        if isinstance(value, torch.Tensor)
        else isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating)
    )
    if not floats:
        raise ValueError(f"{name} must be an array or tensor of floats, got {got}; convert it first")
    if value.ndim != num_axes or 0 in value.shape:
        axes = "(batch, channel, height, width)" if num_axes == 4 else "(channel,)"
        raise ValueError(f"{name} must have shape {axes} without an empty axis, got {got}; reshape it first")
    tensor = (
        value.detach().cpu().double() if isinstance(value, torch.Tensor) else torch.from_numpy(value.astype(np.float64))
    )
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"{name} must be finite, got nan or inf among {got}; leave out the pictures that gave them")
    return tensor
