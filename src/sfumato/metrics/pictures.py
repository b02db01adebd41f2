"""How alike two pictures are."""

import numpy as np
from numpy.typing import NDArray


def psnr(picture: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures, in dB; infinite where they are identical.

    Args:
        picture, reference: bytes of the same shape.

    Raises:
        ValueError: the shapes differ, or the arrays are not bytes.

    Source: 10 log10(255^2 / MSE), the mean over all pixels and channels.
    """
    if picture.shape != reference.shape:
        raise ValueError(f"pictures must have one shape, got {picture.shape} and {reference.shape}")
    if picture.dtype != np.uint8 or reference.dtype != np.uint8:
        raise ValueError(f"pictures must be uint8, got {picture.dtype} and {reference.dtype}")
    error = np.square(picture.astype(np.float64) - reference.astype(np.float64)).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))
