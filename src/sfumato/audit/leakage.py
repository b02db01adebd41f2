"""Leakage of a secret: an attacker's score with the transcript, less its score without; knows no protocol."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from sfumato.metrics.intervals import Interval, bootstrap_interval

Scores = Float[np.ndarray, " secret"]


class Verdict(StrEnum):
    """What a row says."""

    LEAKS = "leaks"
    NOTHING_FOUND = "nothing found"
    """By this attack; another may find more."""
    INCONCLUSIVE = "inconclusive"
    """The attack failed where nothing is hidden, or succeeded on noise, so it says nothing."""


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """One row: means over secrets, higher for a better guess."""

    num_secrets: int
    guess: float
    prior_only: float
    leakage: float
    """The mean of the differences."""
    interval: Interval
    """Where the mean difference lies in 95 of 100 such sets of secrets."""

    @property
    def is_found(self) -> bool:
        """The whole interval lies above 0."""
        return self.interval.low > 0


def leakage(guess: Scores, prior_only: Scores) -> Leakage:
    """Compares scores in pairs.

    Args:
        guess: one score a secret, of the attacker with the transcript; finite.
        prior_only: of the same attacker and secrets without it.

    Raises:
        ValueError: arrays of other lengths, single secrets, or scores that are not finite.
    """
    if guess.shape != prior_only.shape:
        raise ValueError(f"scores must come in pairs, got {len(guess)} with and {len(prior_only)} without a transcript")
    if not (np.isfinite(guess).all() and np.isfinite(prior_only).all()):
        raise ValueError("scores must be finite: cap what is infinite, as PSNR of equal pictures")
    difference = guess - prior_only
    return Leakage(
        num_secrets=len(guess),
        guess=float(guess.mean()),
        prior_only=float(prior_only.mean()),
        leakage=float(difference.mean()),
        interval=bootstrap_interval(difference),
    )


def verdict(row: Leakage, *, in_the_clear: Leakage | None, on_noise: Leakage | None) -> Verdict:
    """Judges a row by its controls.

    Args:
        row: of the protocol under audit.
        in_the_clear: the same attack where nothing is hidden; it must find something.
        on_noise: the same attack on noise of the same sizes; it must find nothing.
    """
    if in_the_clear is None or on_noise is None or not in_the_clear.is_found or on_noise.is_found:
        return Verdict.INCONCLUSIVE
    return Verdict.LEAKS if row.is_found else Verdict.NOTHING_FOUND
