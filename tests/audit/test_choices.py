"""Bits never exceed what scores can hold, and scores of nothing give none."""

import numpy as np
import pytest

from sfumato.audit.choices import choice


def _true(number: int, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(count, size=number)


def test_scores_that_name_the_choice_hold_all_its_bits():
    true = _true(100, 8)
    found = choice(10.0 * np.eye(8)[true], true)
    assert found.accuracy == 1
    assert found.auroc == 1
    assert 2.9 < found.bits <= 3


def test_scores_of_nothing_hold_none():
    found = choice(np.random.default_rng(1).normal(size=(400, 8)), _true(400, 8))
    assert abs(found.accuracy - found.chance) < 0.05
    assert abs(found.auroc - 0.5) < 0.05
    assert found.bits_interval.low <= 0
    assert found.bits < 0.02


def test_a_known_channel_is_bounded_from_below():
    """A binary symmetric channel with error 0.1 carries 1 - H(0.1) = 0.531 bits."""
    generator = np.random.default_rng(2)
    true = _true(4000, 2)
    seen = np.where(generator.random(4000) < 0.1, 1 - true, true)
    found = choice(np.eye(2)[seen], true)
    assert found.bits == pytest.approx(0.531, abs=0.03)


def test_the_scale_of_scores_does_not_matter():
    generator, true = np.random.default_rng(3), _true(100, 4)
    scores = np.eye(4)[true] + generator.normal(size=(100, 4))
    assert choice(scores, true).bits == pytest.approx(choice(1e6 * scores, true).bits, abs=1e-3)


def test_equal_scores_share_the_hit():
    found = choice(np.zeros((20, 5)), _true(20, 5))
    assert found.accuracy == pytest.approx(0.2)
    assert found.auroc == pytest.approx(0.5)


def test_few_secrets_are_refused():
    with pytest.raises(ValueError, match="2 candidates and 10 secrets, got 3 and 4"):
        choice(np.zeros((4, 3)), _true(4, 3))
