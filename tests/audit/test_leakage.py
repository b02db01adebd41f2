"""Leakage is a difference with an interval, and means nothing without its controls."""

import numpy as np
import pytest

from sfumato.audit.leakage import Verdict, leakage, verdict

RNG = np.random.default_rng(0)
PRIOR = RNG.normal(size=60)
FOUND = leakage(PRIOR + 1 + 0.1 * RNG.normal(size=60), PRIOR)
NOTHING = leakage(PRIOR + 0.1 * RNG.permutation(np.linspace(-1, 1, 60)), PRIOR)


def test_is_the_mean_difference_of_pairs():
    assert FOUND.leakage == pytest.approx(FOUND.guess - FOUND.prior_only)
    assert FOUND.interval.low < FOUND.leakage < FOUND.interval.high
    assert FOUND.num_secrets == 60


def test_pairs_make_it_surer_than_the_scores_vary():
    assert FOUND.interval.high - FOUND.interval.low < PRIOR.std() / 4


def test_a_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        drawn = np.random.default_rng(seed).normal(0.5, 1, size=50)
        interval = leakage(drawn, np.zeros(50)).interval
        covered += interval.low <= 0.5 <= interval.high
    assert 180 <= covered <= 199


@pytest.mark.parametrize(
    ("row", "clear", "noise", "expected"),
    [
        (FOUND, FOUND, NOTHING, Verdict.LEAKS),
        (NOTHING, FOUND, NOTHING, Verdict.NOTHING_FOUND),
        (NOTHING, NOTHING, NOTHING, Verdict.INCONCLUSIVE),
        (FOUND, FOUND, FOUND, Verdict.INCONCLUSIVE),
        (NOTHING, None, NOTHING, Verdict.INCONCLUSIVE),
        (FOUND, FOUND, None, Verdict.INCONCLUSIVE),
    ],
)
def test_controls_come_first(row, clear, noise, expected):
    assert verdict(row, in_the_clear=clear, on_noise=noise) is expected


def test_refuses_scores_that_are_no_pairs():
    with pytest.raises(ValueError, match="in pairs, got 3 with and 2"):
        leakage(np.ones(3), np.ones(2))


def test_refuses_infinite_scores():
    with pytest.raises(ValueError, match="cap what is infinite"):
        leakage(np.array([np.inf, 1.0]), np.ones(2))
