"""The paper's trends: verdicts on rows whose answer is known."""

from math import inf, log10

import numpy as np
import pytest
from made_rows import SETTINGS, compared, frame, offloading, split

from sfumato.experiments.ppidm_fidelity.trends import trends
from sfumato.experiments.ppidm_fidelity.verdicts import Trend

NORM, STEPS, SIZE, CLOUDS, EXACT = range(5)


def _tried(which: int, *parts) -> Trend:
    return trends(frame(*parts), SETTINGS)[which]


def _spread(mean: float, num_pictures: int = 12) -> list[float]:
    """Pictures that differ by several dB, as prompts do."""
    return [mean + 4 * np.sin(index) for index in range(num_pictures)]


def test_without_other_settings_nothing_but_the_merge_could_be_tested():
    found = trends(frame(compared(split(), _spread(33))), SETTINGS)
    assert [t.verdict for t in found] == ["not tested"] * 5
    assert all(t.value is None for t in found)


def test_one_picture_is_not_enough():
    trend = _tried(STEPS, compared(split(), [33.0]), compared(split(), [30.0], steps=70))
    assert (trend.verdict, trend.pictures) == ("not tested", 1)


def test_group_norm_that_dominates():
    trend = _tried(
        NORM,
        compared(split(), _spread(33)),
        compared(offloading("norm"), _spread(35)),
        compared(offloading("conv"), _spread(47)),
        compared(offloading("conv", "cross_attention"), _spread(49)),
    )
    assert trend.verdict == "holds"
    assert trend.value == pytest.approx(48 - 34)
    assert trend.low == pytest.approx(14)
    assert trend.pictures == 12
    assert trend.claim.paper == pytest.approx((47.09 + 47.19 + 47.31) / 3 - (36.91 + 2 * 36.87 + 36.90) / 4)


def test_group_norm_that_makes_less_than_half_of_the_error():
    trend = _tried(NORM, compared(split(), _spread(33)), compared(offloading("conv"), _spread(35)))
    assert trend.verdict == "does not hold"
    assert trend.value == pytest.approx(2)


def test_an_identical_pair_counts_as_one_byte_off_by_one():
    trend = _tried(NORM, compared(split(), [30.0, 30.0]), compared(offloading("conv"), [inf, inf]))
    assert trend.value == pytest.approx(10 * log10(255**2 * 3 * 16 * 16) - 30)


def test_steps_that_lower_psnr():
    trend = _tried(STEPS, *(compared(split(), _spread(35 - 0.02 * s), steps=s) for s in (30, 40, 50, 60, 70)))
    assert trend.verdict == "holds"
    assert trend.value == pytest.approx(-0.2)
    # By hand from 37.06, 37.04, 36.90, 36.45, 36.48: (-2 * 37.06 - 37.04 + 36.45 + 2 * 36.48) / 10.
    assert trend.claim.paper == pytest.approx(-0.175)


def test_steps_that_raise_psnr():
    trend = _tried(STEPS, *(compared(split(), _spread(30 + 0.1 * s), steps=s) for s in (30, 50)))
    assert trend.verdict == "does not hold"
    assert trend.value == pytest.approx(1.0)


def test_steps_whose_slope_is_in_the_noise():
    noise = [(-1) ** index for index in range(12)]
    more, fewer = np.array(_spread(33)) + noise, np.array(_spread(33)) - noise
    trend = _tried(STEPS, compared(split(), more, steps=30), compared(split(), fewer, steps=70))
    assert trend.verdict == "not settled by these pictures"
    assert trend.low < 0 < trend.high


def test_only_pictures_with_all_settings_count():
    trend = _tried(
        STEPS,
        compared(split(), [33.0, 34.0, 90.0], steps=30),
        compared(split(), [32.0, 33.0], steps=50),
    )
    assert trend.pictures == 2
    assert trend.value == pytest.approx(-0.5)


def test_resolution_is_a_slope_over_doublings():
    trend = _tried(SIZE, *(compared(split(), _spread(mean), size=s) for s, mean in ((8, 31), (16, 33), (32, 35))))
    assert trend.verdict == "holds"
    assert trend.value == pytest.approx(2.0)
    assert trend.claim.unit == "dB per doubling"


def test_clouds_that_hardly_matter():
    parts = [compared(split(num_clouds=n), _spread(mean)) for n, mean in ((2, 36.80), (4, 36.90), (8, 36.76))]
    trend = _tried(CLOUDS, *parts)
    assert trend.verdict == "holds"
    assert trend.value == pytest.approx(36.76 - 36.90)
    assert "n = 8 less n = 4" in trend.claim.meaning
    assert trend.claim.paper == pytest.approx(39.77 - 39.48)


def test_clouds_that_matter():
    trend = _tried(CLOUDS, *(compared(split(num_clouds=n), _spread(m)) for n, m in ((2, 38), (4, 33), (8, 30))))
    assert trend.verdict == "does not hold"
    assert trend.value == pytest.approx(-8)


def test_clouds_whose_differences_straddle_the_margin():
    straddling = np.array(_spread(33)) + [1.0, -0.2] * 6
    trend = _tried(CLOUDS, compared(split(num_clouds=2), _spread(33)), compared(split(num_clouds=4), straddling))
    assert trend.verdict == "not settled by these pictures"


def test_exact_merging_is_judged_by_its_worst_picture():
    exact = compared(split(merge="exact"), [80.0, inf, 61.0])
    paper = compared(split(), [30.0, 25.5, 40.0])
    trend = _tried(EXACT, exact, paper)
    assert (trend.verdict, trend.value, trend.pictures) == ("holds", 61.0, 3)
    assert "25.50 dB" in trend.claim.meaning
    worse = _tried(EXACT, compared(split(merge="exact"), [80.0, inf, 59.0]), paper)
    assert worse.verdict == "does not hold"


def test_exact_merging_where_every_picture_is_identical():
    trend = _tried(EXACT, compared(split(merge="exact"), [inf, inf]), compared(split(), [30.0, 31.0]))
    assert (trend.verdict, trend.value) == ("holds", inf)
