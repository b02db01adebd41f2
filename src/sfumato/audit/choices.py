"""How much scores over candidates tell of which one is true: accuracy, AUROC, and bits; knows no protocol."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import rankdata

from sfumato.metrics.intervals import Interval, bootstrap_interval

_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Of k candidates each, over several secrets."""

    num_candidates: int
    accuracy: float
    """Share of secrets whose true candidate has the highest score; ties are shared out."""
    chance: float
    auroc: float
    """How often a true candidate's score lies above another's of the same secret."""
    bits: float
    """Lower bound on the mutual information of choice and scores, at most log2 k; may be below 0 by chance."""
    bits_interval: Interval


def choice(scores: Float[np.ndarray, "secret candidate"], true: Int[np.ndarray, " secret"]) -> Choice:
    """Judges scores over candidates of which one is true, all equally likely beforehand.

    The bound is the mean of log2 k + log2 q(true | scores), with q a softmax of scores over a temperature that is
    fitted on other secrets (5 folds), so that it is a bound for any scores.

    Args:
        scores: higher for likelier candidates; finite.
        true: column of the true one.

    Raises:
        ValueError: fewer than 2 candidates or 10 secrets, or scores that are not finite.

    Source: Barber and Agakov 2003, "The IM algorithm: a variational approach to information maximization", Eq. 3.
    """
    number, count = scores.shape
    if count < 2 or number < 2 * _FOLDS:
        raise ValueError(f"bits need 2 candidates and {2 * _FOLDS} secrets, got {count} and {number}: take more")
    if not np.isfinite(scores).all():
        raise ValueError("scores over candidates must be finite")
    rows = np.arange(number)
    own, best = scores[rows, true], scores.max(1)
    accuracy = np.where(own == best, 1 / (scores == best[:, None]).sum(1), 0.0)
    bits = np.log2(count) + _cross_fitted(scores, true) / np.log(2)
    ranks = np.apply_along_axis(rankdata, 1, scores)[rows, true]
    return Choice(
        num_candidates=count,
        accuracy=float(accuracy.mean()),
        chance=1 / count,
        auroc=float(((ranks - 1) / (count - 1)).mean()),
        bits=float(bits.mean()),
        bits_interval=bootstrap_interval(bits),
    )


def _cross_fitted(scores: NDArray[np.float64], true: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-probability of each true candidate, with the temperature of the other folds."""
    scale = scores.std() or 1.0
    logits = scores / scale
    fold = np.arange(len(scores)) % _FOLDS
    found = np.empty(len(scores))
    for each in range(_FOLDS):
        rest, held = fold != each, fold == each
        found[held] = _log_probability(logits[held], true[held], _temperature(logits[rest], true[rest]))
    return found


def _temperature(logits: NDArray[np.float64], true: NDArray[np.int64]) -> float:
    """The inverse temperature, from 0 (scores say nothing) up, of the highest likelihood."""
    fitted = minimize_scalar(lambda b: -_log_probability(logits, true, b).mean(), bounds=(0.0, 100.0), method="bounded")
    return float(fitted.x)


def _log_probability(logits: NDArray[np.float64], true: NDArray[np.int64], inverse: float) -> NDArray[np.float64]:
    return log_softmax(inverse * logits, axis=1)[np.arange(len(logits)), true]
