"""Loss terms by hand, and against slow evaluations."""

import math

import numpy as np
import pytest
import torch

from sfumato.attacks.inversion.losses import feature_distance, total_variation
from sfumato.attacks.inversion.multi_frame import frame_spread
from sfumato.attacks.inversion.negentropy import contrast, gaussian_contrast, negentropy, published_term


def test_total_variation_by_hand():
    picture = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.5, 1.0]]).expand(1, 3, 2, 3)
    down = 0.0 + 0.25 + 0.0
    across = 1.0 + 0.0 + 0.25 + 0.25
    torch.testing.assert_close(total_variation(picture), torch.tensor([3 * (down + across) / 6]))


def test_total_variation_of_a_flat_picture_is_0_and_of_noise_is_not():
    pictures = torch.cat([torch.full((1, 3, 8, 8), 0.3), torch.rand(1, 3, 8, 8)])
    assert total_variation(pictures)[0] == 0
    assert total_variation(pictures)[1] > 0.1


def test_features_count_over_all_tensors_each_picture_alone():
    found = (torch.zeros(2, 3), torch.zeros(4, 2))
    wanted = (torch.tensor([[1.0, 0, 0], [2.0, 0, 0]]), torch.tensor([[0.0, 3.0], [0, 0], [0, 0], [0, 1.0]]))
    assert feature_distance(found, wanted, 2).tolist() == [10.0, 5.0]
    torch.testing.assert_close(feature_distance(found, wanted, 2, "mean"), torch.tensor([10.0, 5.0]) / 7)


def test_a_relative_distance_does_not_depend_on_the_size_of_features():
    found, wanted = (torch.tensor([[1.0, 2.0], [0.0, 0.0]]),), (torch.tensor([[3.0, 4.0], [0.0, 0.0]]),)
    assert feature_distance(found, wanted, 2, "relative").tolist() == [pytest.approx(8 / 25), 0.0]
    larger = tuple(1000 * part for part in found), tuple(1000 * part for part in wanted)
    assert feature_distance(*larger, 2, "relative").tolist() == [pytest.approx(8 / 25), 0.0]


def test_features_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"gives features of shapes .* and the view holds .*: take both at one layer"):
        feature_distance((torch.zeros(2, 3),), (torch.zeros(2, 4),), 2)


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_the_text_terms_against_direct_evaluation(alpha):
    values = torch.randn(2, 4, 6, 6, dtype=torch.float64) * 1.3
    direct = np.log(np.cosh(alpha * values.numpy()) ** 2) / alpha**2
    means = direct.reshape(2, -1).mean(1)
    torch.testing.assert_close(published_term(values, alpha), torch.from_numpy(-means))
    grid, step = np.linspace(-12, 12, 200_001, retstep=True)
    density = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi)
    gaussian = float((np.log(np.cosh(alpha * grid) ** 2) / alpha**2 * density).sum() * step)
    assert gaussian_contrast(alpha) == pytest.approx(gaussian, abs=1e-7)
    torch.testing.assert_close(negentropy(values, alpha), torch.from_numpy((means - gaussian) ** 2))


def test_large_values_do_not_overflow():
    assert contrast(torch.tensor([1e4, -1e4]), 1.0).tolist() == pytest.approx([2e4 - 2 * math.log(2)] * 2)


def test_only_negentropy_is_least_for_gaussian_values():
    """The published term is lower for a latent of +1 and -1 than for noise; negentropy is not."""
    noise = torch.randn(1, 1, 100, 100, generator=torch.Generator().manual_seed(0))
    two_valued = noise.sign()
    assert published_term(two_valued, 1.0) < published_term(noise, 1.0) - 0.1
    assert negentropy(noise, 1.0) < 1e-4
    assert negentropy(two_valued, 1.0) > 1e-2


@pytest.mark.parametrize("alpha", [0.9, 2.1])
def test_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match=r"alpha must be in \[1, 2\]"):
        published_term(torch.zeros(1, 4, 2, 2), alpha)


def test_the_spread_of_frames_by_hand_and_through_the_mean():
    clips = torch.tensor([1.0, 3.0, 5.0, 5.0]).view(4, 1, 1, 1).requires_grad_()
    spread = frame_spread(clips, 2)
    assert spread.tolist() == [1.0, 1.0, 0.0, 0.0]
    spread.sum().backward()
    # With s = 2 ((a - b) / 2)^2 the slope is a - b; with a fixed mean it would be 2 (a - mean), here the same.
    assert clips.grad.flatten().tolist() == [-2.0, 2.0, 0.0, 0.0]
