import doctest

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from sfumato.metrics import intervals
from sfumato.metrics.intervals import bootstrap_interval
from sfumato.metrics.sets import frechet_distance


def test_worst_case_all_the_spread_that_there_is():
    assert bootstrap_interval(np.array([0.0, 1.0])) == (0, 1)


def test_best_case_no_spread():
    assert bootstrap_interval(np.full(9, 3.5)) == (3.5, 3.5)


def test_by_hand():
    # The largest of four drawn values is at most 1 with probability (1/4)^4 = 0.4 %, at most 2 with (2/4)^4 = 6.3 %, at
    # most 3 with (3/4)^4 = 32 %. So its 2.5 % point is 2 and its 97.5 % point 4.
    assert bootstrap_interval(np.array([1.0, 2.0, 3.0, 4.0]), np.max) == (2, 4)


def test_against_scipy():
    """The same method with other random numbers: ends agree to the error of resampling."""
    values = np.random.default_rng(3).exponential(size=80)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=8000, rng=1).confidence_interval
    ours = bootstrap_interval(values, num_resamples=8000)
    # An end is right to sqrt(.025 * .975 / 8000) / normal density at 1.96 = 0.03 standard errors of the mean; two such
    # ends differ by 5 sigma by chance once in 1e6 runs.
    standard_error = values.std() / np.sqrt(80)
    np.testing.assert_allclose(ours, theirs, atol=5 * np.sqrt(2) * 0.03 * standard_error)


def test_coverage():
    """Means of 60 normal values, 1500 experiments.

    The true value is inside in 94.2 % of them: P(|t_59| < 1.96 (59/60)^(1/2)) is 94.3 %, less some for few resamples.
    The count, 1413 with sigma 9, is more than 35 off by chance once in 1e4 runs; intervals of 90 % (1338) and 99 %
    (1477) are told apart by more than 3 sigma.
    """
    random = np.random.default_rng(0)
    covered = 0
    for i in range(1500):
        low, high = bootstrap_interval(random.normal(5, 2, size=60), num_resamples=200, seed=i)
        covered += low <= 5 <= high
    assert abs(covered - 1413) <= 35


def test_deterministic_for_a_seed():
    values = np.random.default_rng(0).normal(size=30)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


@given(seed=st.integers(0, 2**32), n=st.integers(2, 20))
def test_more_confidence_is_wider(seed, n):
    values = np.random.default_rng(seed).normal(size=n)
    narrow = bootstrap_interval(values, confidence=0.5, num_resamples=200)
    wide = bootstrap_interval(values, confidence=0.9, num_resamples=200)
    assert values.min() <= wide.low <= narrow.low <= narrow.high <= wide.high <= values.max()


def test_infinite_values_stay_infinite_and_make_no_nan():
    """With one identical picture of ten, 65 % of the resamples hold it; with nine of ten nearly all do."""
    values = np.arange(30.0, 40.0)
    values[3] = np.inf
    low, high = bootstrap_interval(values)
    assert 30 < low < 39
    assert high == np.inf
    assert bootstrap_interval(values, np.median).high < np.inf
    values[1:] = np.inf
    assert bootstrap_interval(values) == (np.inf, np.inf)


def test_pairs_are_drawn_together():
    first = np.random.default_rng(0).normal(size=20)
    interval = bootstrap_interval((first, first - 2), lambda a, b: np.abs(a - b - 2).max())
    assert interval.high == pytest.approx(0, abs=1e-12)


def test_frechet_distance_of_paired_features():
    """Equal sets stay equal when the same pictures are drawn from both; other sets do not."""
    x = np.random.default_rng(0).normal(size=(25, 6))
    same = bootstrap_interval((x, x), frechet_distance, num_resamples=100)
    assert same.high == pytest.approx(0, abs=1e-10)
    moved = bootstrap_interval((x, x + 1), frechet_distance, num_resamples=100)
    assert moved == pytest.approx((6, 6))


def test_rows_of_any_shape():
    values = np.random.default_rng(0).normal(size=(12, 2, 3))
    low, high = bootstrap_interval(values, lambda drawn: drawn.mean(), num_resamples=100)
    assert low < values.mean() < high


def test_example():
    assert doctest.testmod(intervals, raise_on_error=True).attempted > 0


def test_bad_arguments():
    values = np.arange(4.0)
    with pytest.raises(ValueError, match=r"values must be an array with one row a picture.*got list"):
        bootstrap_interval([1.0, 2.0])
    with pytest.raises(ValueError, match="got an empty tuple"):
        bootstrap_interval(())
    with pytest.raises(ValueError, match="values must hold at least 2 pictures, got 1"):
        bootstrap_interval(values[:1])
    with pytest.raises(ValueError, match="at least 2 pictures, got 0"):
        bootstrap_interval(values[:0])
    with pytest.raises(ValueError, match=r"one length to be drawn together, got \[4, 3\]"):
        bootstrap_interval((values, values[:3]))
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\), got 95"):
        bootstrap_interval(values, confidence=95)
    with pytest.raises(ValueError, match=r"num_resamples must be at least 40 for confidence 0.95, got 39"):
        bootstrap_interval(values, num_resamples=39)
    with pytest.raises(ValueError, match=r"statistic must return one number, got float64 of shape \(2,\)"):
        bootstrap_interval(np.ones((4, 2)), lambda drawn: drawn.mean(axis=0))
    with pytest.raises(ValueError, match="statistic was nan on 2000 of 2000 resamples; leave out nan"):
        bootstrap_interval(values * np.nan)


def test_the_fewest_resamples_that_are_allowed():
    assert bootstrap_interval(np.array([0.0, 1.0]), num_resamples=40) == (0, 1)
