"""How well pictures fit their captions, from the embeddings of an image-text encoder."""

import numpy as np
from numpy.typing import NDArray

from sfumato.metrics.checking import checked_rows

_PICTURES_AT_ONCE = 1024


def clip_score(image_embeds: NDArray[np.floating], text_embeds: NDArray[np.floating]) -> NDArray[np.float64]:
    """100 max(cosine, 0) of each picture and its caption: in [0, 100], higher is better.

    Args:
        image_embeds, text_embeds: (n, d), row i of both is one pair; any length but 0.

    Returns:
        One score a picture. Scores of different encoders are not comparable.

    Raises:
        ValueError: other types or shapes, no rows, a row of length 0, values that are not finite.

    Source: Hessel et al. 2021, arXiv 2104.08718, section 3: w max(cos, 0) with w = 100 as in torchmetrics, where the
        paper has w = 2.5. torchmetrics clips the mean of all pictures at 0, we clip each, as the paper does.
    """
    images, texts = _unit_pairs(image_embeds, text_embeds)
    return 100 * np.clip((images * texts).sum(axis=1), 0, 1)


def retrieval_accuracy(image_embeds: NDArray[np.floating], text_embeds: NDArray[np.floating]) -> float:
    """Share of pictures whose own caption is the nearest of all: in [0, 1], higher is better, 1/n by chance.

    For an interval, resample ``own_text_nearest``: resampled pairs repeat captions, and ties count against.

    Args:
        image_embeds, text_embeds: as of ``own_text_nearest``.

    Raises:
        ValueError: as ``own_text_nearest``.

    Source: recall at 1 of image-to-text retrieval, as in Radford et al. 2021, arXiv 2103.00020, section 3.1.
    """
    return float(own_text_nearest(image_embeds, text_embeds).mean())


def own_text_nearest(image_embeds: NDArray[np.floating], text_embeds: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 for each picture whose own caption has the largest cosine of all, else 0; higher is better.

    Ties count against, also up to the rounding of fp64: two pictures with equal captions both have 0.

    Args:
        image_embeds, text_embeds: (n, d), row i of both is one pair; any length but 0.

    Raises:
        ValueError: other types or shapes, no rows, a row of length 0, values that are not finite.
    """
    images, texts = _unit_pairs(image_embeds, text_embeds)
    nearest = np.empty(len(images))
    for start in range(0, len(images), _PICTURES_AT_ONCE):
        cosines = images[start : start + _PICTURES_AT_ONCE] @ texts.T
        rows = np.arange(len(cosines))
        own = cosines[rows, start + rows]
        cosines[rows, start + rows] = -np.inf
        nearest[start : start + len(rows)] = own > cosines.max(axis=1) + 1e-12
    return nearest


def _unit_pairs(
    image_embeds: NDArray[np.floating], text_embeds: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sets of embeddings in fp64, each row of length 1."""
    images, texts = checked_rows("image_embeds", image_embeds), checked_rows("text_embeds", text_embeds)
    if images.shape != texts.shape:
        raise ValueError(
            f"image_embeds and text_embeds must have one shape, got {images.shape} and {texts.shape}; "
            "give one caption a picture, from one encoder"
        )
    return _unit_length("image_embeds", images), _unit_length("text_embeds", texts)


def _unit_length(name: str, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if (lengths == 0).any():
        raise ValueError(f"{name} must have no row of length 0, got one at {lengths.argmin()}; it has no direction")
    return rows / lengths
