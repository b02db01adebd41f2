"""Scores stand beside those of the prior alone."""

import numpy as np
import pytest

from sfumato.attacks.inversion.scoring import Score, attributes_in_common, inception_scores, scores
from sfumato.models.picture_encoder import PictureEncoder
from sfumato.portraits.samples import sample


@pytest.fixture(scope="module")
def encoder():
    return PictureEncoder()


@pytest.fixture(scope="module")
def painted():
    return np.stack([sample(np.random.default_rng(seed))[0] for seed in range(6)])


def flat(*levels):
    return np.stack([np.full((16, 16, 3), level, np.uint8) for level in levels])


def test_leakage_is_the_difference_to_the_mean_over_draws():
    originals, guesses = flat(100, 100), flat(101, 110)
    draws = [flat(110, 110), flat(101, 110)]
    (psnr, published, similarity) = scores(guesses, originals, draws)
    one, ten = 10 * np.log10(255**2), 10 * np.log10(255**2 / 100)
    assert [score.metric for score in (psnr, published, similarity)] == ["psnr", "mean_absolute_psnr", "ssim"]
    np.testing.assert_allclose(psnr.guess, [one, ten])
    np.testing.assert_allclose(psnr.prior_only, [(one + ten) / 2, ten])
    np.testing.assert_allclose(psnr.leakage, [(one - ten) / 2, 0])
    np.testing.assert_allclose(published.guess, [10 * np.log10(255), 10 * np.log10(25.5)])


def test_the_interval_holds_the_mean_and_needs_two_finite_scores():
    def score(*values):
        return Score(metric="psnr", guess=np.array(values), prior_only=np.zeros(len(values)))

    many = score(*np.linspace(1, 3, 20))
    assert 1 < many.interval.low < 2 < many.interval.high < 3
    assert score(1.0).interval is None
    assert score(1.0, np.inf).interval is None


def test_attributes_in_common(painted, encoder):
    assert attributes_in_common(painted, painted, encoder).tolist() == [1.0] * 6
    others = attributes_in_common(np.roll(painted, 1, axis=0), painted, encoder)
    assert (others < 1).all()
    assert scores(painted, painted, [painted], encoder)[-1].metric == "attributes"


def test_a_set_of_one_picture_again_and_again_is_not_varied(painted, encoder):
    same = np.repeat(painted[:1], 6, axis=0)
    found = inception_scores(painted, [same, painted], encoder)
    assert found.guess > 1.5
    alone = inception_scores(same, [painted], encoder)
    assert alone.guess == pytest.approx(1.0)
    assert found.prior_only == pytest.approx((1.0 + found.guess) / 2)


def test_scores_without_a_draw_are_refused():
    with pytest.raises(ValueError, match="need at least one draw"):
        scores(flat(1), flat(1), [])
