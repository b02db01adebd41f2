"""How sure a number over pictures is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sfumato.metrics.checking import describe


class Interval(NamedTuple):
    """The ends of a confidence interval, in the unit of the statistic; either may be infinite."""

    low: float
    high: float


def bootstrap_interval(
    values: NDArray[Any] | tuple[NDArray[Any], ...],
    statistic: Callable[..., Any] = np.mean,
    *,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap: where a statistic of the pictures lies when other such pictures had been drawn.

    The ends are resampled values themselves, never a mean of two, so an infinite value (the PSNR of identical
    pictures) makes no nan: it stays infinite, and so does the mean of every resample that holds it. The interval of a
    mean of PSNR with one infinite value therefore reaches to inf; take the median, or count the identical pictures
    apart. Small samples give intervals that are somewhat too narrow.

    For a distance of sets, resampling repeats pictures, which makes each resample less varied than the set:
    the interval then shows the spread, but lies to the side of the biased values and may miss the number itself.

    Args:
        values: one row a picture, (n, ...), n at least 2; or a tuple of such arrays, whose rows are drawn together.
        statistic: called with the resampled array, or with one argument an array of the tuple; returns one number.
        confidence: share of experiments whose interval holds the true value, in (0, 1).
        num_resamples: calls of the statistic, at least enough for one beyond either end.
        seed: fixes the resamples.

    Raises:
        ValueError: empty or single values, arrays of different lengths, settings out of range, or a statistic that
            is nan on a resample.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.

    Example:
        >>> bootstrap_interval(np.array([1.0, 2.0, 3.0, 4.0]), np.median)
        Interval(low=1.0, high=4.0)
        >>> from sfumato.metrics.sets import frechet_distance
        >>> ours, theirs = np.random.default_rng(0).normal(size=(2, 20, 4))
        >>> interval = bootstrap_interval((ours, theirs), frechet_distance)
    """
    arrays = values if isinstance(values, tuple) else (values,)
    num_pictures = _checked_length(arrays)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}; 0.95 is usual")
    beyond = int(np.floor(num_resamples * (1 - confidence) / 2 + 1e-9))
    if beyond < 1:
        raise ValueError(
            f"num_resamples must be at least {int(np.ceil(2 / (1 - confidence) - 1e-9))} for confidence {confidence}, "
            f"got {num_resamples}; take more"
        )
    drawn = np.random.default_rng(seed).integers(num_pictures, size=(num_resamples, num_pictures))
    if statistic is np.mean and len(arrays) == 1 and arrays[0].ndim == 1:
        found = arrays[0][drawn].mean(1, dtype=np.float64)  # all resamples in one call
    else:
        found = np.array([_number(statistic(*(array[rows] for array in arrays))) for rows in drawn])
    if np.isnan(found).any():
        raise ValueError(
            f"statistic was nan on {np.isnan(found).sum()} of {num_resamples} resamples; "
            "leave out nan values, and take a statistic that is defined for infinite ones"
        )
    found.sort()
    return Interval(float(found[beyond - 1]), float(found[-beyond]))


def _number(found: Any) -> float:
    if np.ndim(found) != 0:
        raise ValueError(f"statistic must return one number, got {describe(found)}; take a mean over its axes")
    return float(found)


def _checked_length(arrays: tuple[NDArray[Any], ...]) -> int:
    """The number of pictures, one for all arrays."""
    if not arrays or not all(isinstance(array, np.ndarray) and array.ndim >= 1 for array in arrays):
        got = ", ".join(describe(array) for array in arrays) or "an empty tuple"
        raise ValueError(f"values must be an array with one row a picture, or a tuple of such arrays, got {got}")
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        raise ValueError(f"values must have one length to be drawn together, got {[len(a) for a in arrays]}; pair them")
    if (length := lengths.pop()) < 2:
        raise ValueError(f"values must hold at least 2 pictures, got {length}; one says nothing of the spread")
    return length
