import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.metrics.perceptual import perceptual_distance


def random_layers(seed: int, batch: int, shapes=((3, 4, 5), (2, 2, 1))) -> tuple[list, list, list]:
    random = np.random.default_rng(seed)
    maps, references = ([random.normal(size=(batch, *shape)) for shape in shapes] for _ in range(2))
    return maps, references, [random.uniform(size=shape[0]) for shape in shapes]


def test_best_case_is_the_same_maps_at_any_brightness():
    maps, _, weights = random_layers(0, 2)
    np.testing.assert_array_equal(perceptual_distance(maps, maps, weights), [0, 0])
    np.testing.assert_allclose(perceptual_distance(maps, [3 * m for m in maps], weights), [0, 0], atol=1e-30)


def test_worst_case_is_four_a_layer():
    """Opposite unit vectors are 2 apart, and 4 squared, at every position of both layers."""
    maps, _, weights = random_layers(0, 3)
    worst = perceptual_distance(maps, [-m for m in maps], [np.ones_like(w) for w in weights])
    np.testing.assert_allclose(worst, [8, 8, 8])


def test_by_hand():
    # One layer, two channels, two positions. First position: (3, 4) / 5 = (.6, .8) against (1, 0): squares .16 and
    # .64, weighted by 10 and 1: 2.24. Second position: equal directions, 0. Mean over positions: 1.12.
    maps = np.array([[[[3.0, 1.0]], [[4.0, 1.0]]]])
    reference = np.array([[[[2.0, 5.0]], [[0.0, 5.0]]]])
    assert perceptual_distance([maps], [reference], [np.array([10.0, 1.0])])[0] == pytest.approx(1.12)


def test_a_vector_of_length_zero_stays_zero():
    # Against (1, 0) with weights 1: 1. Against itself: 0.
    zero, unit = np.zeros((1, 2, 1, 1)), np.array([1.0, 0.0]).reshape(1, 2, 1, 1)
    assert perceptual_distance([zero], [unit], [np.ones(2)]) == [1]
    assert perceptual_distance([zero], [zero], [np.ones(2)]) == [0]


def brute_force(maps, references, weights, i: int) -> float:
    total = 0.0
    for a, b, w in zip(maps, references, weights, strict=True):
        _, channels, height, width = a.shape
        for y in range(height):
            for x in range(width):
                length_a = math.sqrt(sum(a[i, c, y, x] ** 2 for c in range(channels)))
                length_b = math.sqrt(sum(b[i, c, y, x] ** 2 for c in range(channels)))
                for c in range(channels):
                    difference = a[i, c, y, x] / length_a - b[i, c, y, x] / length_b
                    total += w[c] * difference**2 / (height * width)
    return total


@given(seed=st.integers(0, 2**32), batch=st.integers(1, 3))
def test_against_brute_force_and_one_by_one(seed, batch):
    maps, references, weights = random_layers(seed, batch)
    found = perceptual_distance(maps, references, weights)
    assert found.shape == (batch,)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [brute_force(maps, references, weights, i) for i in range(batch)], rtol=1e-10)
    for i in range(batch):
        one = perceptual_distance([m[i : i + 1] for m in maps], [m[i : i + 1] for m in references], weights)
        np.testing.assert_allclose(one, found[i : i + 1], rtol=1e-12)


def test_tensors_of_any_precision_with_gradients():
    maps, references, weights = random_layers(1, 2)
    halves = [torch.tensor(m, dtype=torch.bfloat16, requires_grad=True) for m in maps]
    expected = perceptual_distance([m.detach().double().numpy() for m in halves], references, weights)
    np.testing.assert_array_equal(perceptual_distance(halves, references, weights), expected)


def test_against_torchmetrics():
    """Its LPIPS parts, which are private, on our maps."""
    from torchmetrics.functional.image.lpips import _normalize_tensor, _spatial_average

    maps, references, weights = random_layers(2, 3)
    theirs = sum(
        _spatial_average(
            (_normalize_tensor(torch.from_numpy(a)) - _normalize_tensor(torch.from_numpy(b))).square()
            * torch.from_numpy(w)[:, None, None],
            keep_dim=False,
        ).sum(dim=1)
        for a, b, w in zip(maps, references, weights, strict=True)
    )
    np.testing.assert_allclose(perceptual_distance(maps, references, weights), theirs, rtol=1e-5)


def test_bad_arguments():
    maps, references, weights = random_layers(0, 2)
    with pytest.raises(ValueError, match="one item a layer, got 2, 1 and 2"):
        perceptual_distance(maps, references[:1], weights)
    with pytest.raises(ValueError, match="one item a layer, got 0, 0 and 0"):
        perceptual_distance([], [], [])
    with pytest.raises(
        ValueError, match=r"maps of layer 0 must be an array or tensor of floats, got int64 of shape \(2, 3"
    ):
        perceptual_distance([maps[0].astype(np.int64)], references[:1], weights[:1])
    with pytest.raises(
        ValueError, match="reference_maps of layer 0 must be an array or tensor of floats, got NoneType"
    ):
        perceptual_distance(maps[:1], [None], weights[:1])
    with pytest.raises(ValueError, match=r"maps of layer 1 must have shape \(batch, channel, height, width\)"):
        perceptual_distance([maps[0], maps[1][0]], references, weights)
    with pytest.raises(ValueError, match=r"without an empty axis, got float64 of shape \(0, 3, 4, 5\)"):
        perceptual_distance([m[:0] for m in maps], [m[:0] for m in references], weights)
    with pytest.raises(ValueError, match=r"of layer 1 must have one shape, got \(2, 2, 2, 1\) and \(1, 2, 2, 1\)"):
        perceptual_distance(maps, [references[0], references[1][:1]], weights)
    with pytest.raises(ValueError, match=r"one batch size in all layers, got \[2, 1\]"):
        perceptual_distance([maps[0], maps[1][:1]], [references[0], references[1][:1]], weights)
    with pytest.raises(
        ValueError, match=r"channel_weights of layer 0 must be 3 numbers of at least 0, got shape \(2,\)"
    ):
        perceptual_distance(maps, references, weights[::-1])
    with pytest.raises(ValueError, match="with least value -1"):
        perceptual_distance(maps, references, [weights[0], np.array([1.0, -1.0])])
    with pytest.raises(ValueError, match="must be finite, got nan or inf among float64"):
        perceptual_distance([maps[0] * np.nan, maps[1]], references, weights)
