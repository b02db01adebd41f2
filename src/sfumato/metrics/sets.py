"""How alike two sets of pictures are, and how sure and varied a classifier finds one set."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato.metrics.checking import checked_rows


def frechet_distance(features: NDArray[np.floating], reference_features: NDArray[np.floating]) -> float:
    """Fréchet distance of two Gaussians fitted to features: squared units of the features, >= 0, lower is better.

    It is called FID only for features of the published Inception network. It is biased: two samples of one
    distribution are at a distance above 0 that shrinks with the sizes, so compare sets of equal sizes only. With fewer
    pictures than features both covariances are singular: the value is still that of the formula, and the bias is then
    most of it.

    Args:
        features, reference_features: one row a picture, (n, d) and (m, d), n and m at least 2.

    Raises:
        ValueError: other types or shapes, too few rows, values that are not finite.

    Source: Heusel et al. 2017, arXiv 1706.08500, Eq. 6, covariances over n - 1 as in the authors' code. With A = X'X
        and B = Y'Y, tr (AB)^(1/2) = tr (A^(1/2) B A^(1/2))^(1/2) is the sum of the singular values of X Y': no matrix
        square root, nothing complex or negative, and no loss of digits where A or B is singular.
    """
    x = checked_rows("features", features, min_rows=2)
    y = checked_rows("reference_features", reference_features, min_rows=2)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"features and reference_features must have one width, got {x.shape[1]} and {y.shape[1]}; "
            "take both from one layer of one network"
        )
    root_x, root_y = _covariance_root(x), _covariance_root(y)
    overlap = np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum()
    means = np.square(x.mean(axis=0) - y.mean(axis=0)).sum()
    return max(0.0, float(means + np.square(root_x).sum() + np.square(root_y).sum() - 2 * overlap))


def inception_score(probabilities: NDArray[np.floating], num_splits: int = 1) -> float:
    """How sure a classifier is of each picture and how varied of all: in [1, classes], higher is better.

    It is the Inception Score only for the published Inception network. 1 where every picture has the same
    probabilities, the number of classes where each class is certain for as many pictures. It cannot exceed the
    number of pictures in a split.

    Args:
        probabilities: one row a picture, (n, classes), not negative, each summing to 1 within 0.01; then scaled.
        num_splits: parts of the set, in the order given, whose scores are averaged; in [1, n].

    Raises:
        ValueError: other types or shapes, no rows, rows that are not probabilities, splits out of range.

    Source: Salimans et al. 2016, arXiv 1606.03498, section 4: exp(E KL(p(y|x) || p(y))). Shuffle first if the
        order has a meaning.
    """
    rows = checked_rows("probabilities", probabilities)
    sums = rows.sum(axis=1, keepdims=True)
    if (rows < 0).any() or np.abs(sums - 1).max() > 1e-2:
        raise ValueError(
            "probabilities must be at least 0 and sum to 1 in each row, "
            f"got a least value of {rows.min():g} and sums in [{sums.min():g}, {sums.max():g}]; apply softmax to logits"
        )
    if not 1 <= num_splits <= len(rows):
        raise ValueError(
            f"num_splits must be in [1, {len(rows)}], the number of pictures, got {num_splits}; take another number"
        )
    return float(np.mean([_split_score(split) for split in np.array_split(rows / sums, num_splits)]))


def _covariance_root(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """A matrix R of at most d rows with R'R the covariance of the rows."""
    centred = (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
    if len(rows) <= rows.shape[1]:
        return centred
    root: Any = np.linalg.qr(centred, mode="r")  # typed for "reduced" only
    return root


def _split_score(rows: NDArray[np.float64]) -> float:
    """The score of one split; a class of probability 0 adds nothing."""
    marginal = np.broadcast_to(rows.mean(axis=0), rows.shape)
    ratio = np.divide(rows, marginal, out=np.ones_like(rows), where=rows > 0)
    return float(np.exp((rows * np.log(ratio)).sum(axis=1).mean()))
