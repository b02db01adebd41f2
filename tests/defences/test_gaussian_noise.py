"""Noise has the stated deviation, clipping the stated bound, and epsilon is that of the Gaussian mechanism."""

import math

import pytest
import torch
from scipy.stats import norm

from sfumato.defences import accounting
from sfumato.defences.base import PublicSample
from sfumato.defences.gaussian_noise import GaussianNoise
from sfumato.errors import Unsupported
from sfumato.randomness import seeded_generator

opacus = pytest.importorskip("opacus")


def sample(scale=1.0, count=6):
    generator = seeded_generator(1)
    parts = (torch.randn(count, 5, 4, 4, generator=generator), torch.randn(2 * count, 7, generator=generator))
    return PublicSample(features=tuple(scale * part for part in parts), num_pictures=count, second=lambda parts: parts)


def norms(features, count):
    return torch.cat([part.reshape(count, -1) for part in features], 1).norm(dim=1)


def test_clipping_bounds_a_picture_over_all_tensors_and_leaves_shorter_ones():
    release = GaussianNoise(clip_norm=3.0).fit(sample())
    clipped = release.known(sample(scale=10).features)
    torch.testing.assert_close(norms(clipped, 6), torch.full((6,), 3.0))
    short = sample(scale=0.01).features
    for before, after in zip(short, release.known(short), strict=True):
        assert torch.equal(before, after)


def test_without_a_norm_the_public_median_is_taken():
    public = sample()
    release = GaussianNoise().fit(public)
    assert release.clip_norm == pytest.approx(float(norms(public.features, 6).median()))


def test_clipping_has_a_gradient_everywhere():
    release = GaussianNoise(clip_norm=1.0).fit(sample())
    for scale in (0.0, 1.0):
        parts = tuple((scale * part).requires_grad_() for part in sample().features)
        gradients = torch.autograd.grad(sum(part.sum() for part in release.known(parts)), parts)
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_the_noise_has_the_stated_deviation():
    """30 000 values: the deviation is off by more than 2.5 % once in 10^9 seeds."""
    features = (torch.zeros(30, 1000),)
    public = PublicSample(features=features, num_pictures=30, second=lambda parts: parts)
    release = GaussianNoise(noise_multiplier=0.5, clip_norm=4.0).fit(public)
    (noise,) = release.apply(features, seeded_generator(3))
    assert float(noise.std()) == pytest.approx(2.0, rel=0.025)
    assert abs(float(noise.mean())) < 0.08
    (again,) = release.apply(features, seeded_generator(4))
    assert not torch.equal(noise, again)


@pytest.mark.parametrize("multiplier", [0.3, 1.0, 4.0, 50.0])
def test_epsilon_solves_the_exact_profile_of_the_gaussian_mechanism(multiplier):
    """Balle and Wang 2018, Theorem 8, at the distance of two clipped features: twice the norm."""
    guarantee = GaussianNoise(noise_multiplier=multiplier).guarantee()
    mu = 2 / multiplier
    eps = guarantee.epsilon
    delta = norm.cdf(mu / 2 - eps / mu) - math.exp(eps) * norm.cdf(-mu / 2 - eps / mu)
    assert delta == pytest.approx(1e-5, rel=1e-3)
    assert guarantee.accountant.startswith("opacus")


def test_epsilon_of_a_known_setting():
    """With a deviation of the sensitivity and delta = 1e-5, epsilon is 4.377 (Balle and Wang's analytic value)."""
    assert GaussianNoise(noise_multiplier=2.0).guarantee().epsilon == pytest.approx(4.377, abs=1e-3)


def test_epsilon_falls_with_more_noise_and_is_not_stated_where_it_means_nothing():
    found = [GaussianNoise(noise_multiplier=value).guarantee().epsilon for value in (0.2, 1.0, 5.0, 1e7)]
    assert found == sorted(found, reverse=True)
    assert found[-1] == 0.0
    for tiny in (0.07, 0.03, 1e-3, 1e-6):
        assert GaussianNoise(noise_multiplier=tiny).guarantee().epsilon is None


def test_without_the_accountant_nothing_is_stated(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "opacus", None)
    with pytest.raises(
        Unsupported, match=r"stated by opacus, which is not installed: pip install 'sfumato\[defences\]'"
    ):
        accounting.gaussian_guarantee(1.0, 1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_multiplier": 0.0}, "noise_multiplier must be above 0, got 0.0"),
        ({"noise_multiplier": math.nan}, "noise_multiplier must be above 0, got nan"),
        ({"clip_norm": -1.0}, "clip_norm must not be negative, got -1.0"),
        ({"delta": 0.0}, r"delta must be in \(0, 1\), got 0.0"),
        ({"delta": 1.0}, r"delta must be in \(0, 1\), got 1.0"),
    ],
)
def test_noise_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GaussianNoise(**settings)
