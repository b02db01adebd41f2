"""What every metric asks of its arguments, in one sentence when it is not met."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def check_pictures(pictures: NDArray[np.uint8], references: NDArray[np.uint8]) -> None:
    """Refuses all but two equal, non-empty batches of 8-bit colour pictures.

    Raises:
        ValueError: a batch is no uint8 array of shape (batch, height, width, 3), is empty, or differs from the other.
    """
    for name, batch in (("pictures", pictures), ("references", references)):
        got = describe(batch)
        if not isinstance(batch, np.ndarray) or batch.dtype != np.uint8:
            raise ValueError(f"{name} must be a NumPy array of uint8, got {got}; round to bytes in [0, 255] first")
        if batch.ndim != 4 or batch.shape[-1] != 3:
            raise ValueError(f"{name} must have shape (batch, height, width, 3), got {got}; take picture[None] for one")
        if batch.size == 0:
            raise ValueError(f"{name} must hold at least one picture of at least one pixel, got {got}; leave it out")
    if pictures.shape != references.shape:
        raise ValueError(
            f"pictures and references must have one shape, got {pictures.shape} and {references.shape}; "
            "compare pictures of one size, in pairs"
        )


def checked_rows(name: str, rows: NDArray[np.floating], *, min_rows: int = 1) -> NDArray[np.float64]:
    """Returns one row a picture as fp64, shape (n, d).

    Raises:
        ValueError: no floating-point array of that shape, fewer rows than ``min_rows``, or a value that is not finite.
    """
    got = describe(rows)
    if not isinstance(rows, np.ndarray) or not np.issubdtype(rows.dtype, np.floating):
        raise ValueError(f"{name} must be a NumPy array of floats, got {got}; use .numpy() or .astype(float)")
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n, d), one row a picture, got {got}; flatten each picture's values")
    if len(rows) < min_rows:
        raise ValueError(f"{name} must have at least {min_rows} rows, got {got}; take more pictures")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} must be finite, got nan or inf among {got}; leave out the pictures that gave them")
    return rows.astype(np.float64)


def describe(value: Any) -> str:
    """Names an argument in an error: type and shape, never contents."""
    shape = getattr(value, "shape", None)
    if shape is None:
        return type(value).__name__
    return f"{getattr(value, 'dtype', type(value).__name__)} of shape {tuple(shape)}"
