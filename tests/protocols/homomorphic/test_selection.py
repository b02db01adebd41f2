import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.crypto.parameters import PARAMETERS
from sfumato.protocols.homomorphic.index_set import IndexSet, Parts
from sfumato.protocols.homomorphic.selection import AllEntries, MinDistortion, NoEntries, RandomEntries, hill_cost


def latent(seed=0, shape=(1, 4, 64, 64)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def smooth_latent(seed, shape=(1, 4, 64, 64)):
    """Gaussian with a 1/f spectrum, unit variance."""
    rows, columns = (torch.fft.fftfreq(n, dtype=torch.float64) for n in shape[2:])
    frequency = (rows[:, None] ** 2 + columns**2).sqrt().clamp_min(1 / shape[2])
    made = torch.fft.ifft2(torch.fft.fft2(latent(seed, shape).double()) / frequency).real
    return ((made - made.mean()) / made.std()).float()


FRACTIONS = {0.01: 0.89, 0.05: 0.75, 0.1: 0.65, 0.2: 0.51, 0.5: 0.24, 0.9: 0.03}
"""The research note's F1, for noise and for 1/f latents alike."""


@pytest.mark.parametrize("threshold", FRACTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_fraction_on_noise(threshold, seed):
    assert MinDistortion(threshold=threshold)(latent(seed)).fraction == pytest.approx(FRACTIONS[threshold], abs=0.02)


@pytest.mark.parametrize("threshold", FRACTIONS)
def test_fraction_on_smooth_latents(threshold):
    found = MinDistortion(threshold=threshold)(smooth_latent(0)).fraction
    assert found == pytest.approx(FRACTIONS[threshold], abs=0.03)


def test_acceptance_a6_and_a2():
    """The intervals on noise; and that the paper's threshold saves no ciphertext at all."""
    for seed in range(5):
        low, high = (MinDistortion(threshold=t)(latent(seed)) for t in (0.01, 0.5))
        assert 0.87 <= low.fraction <= 0.91
        assert 0.22 <= high.fraction <= 0.26
        for name in ("one-level", "he-diffusion"):
            assert PARAMETERS[name].num_ciphertexts(len(low)) == 4
            assert PARAMETERS[name].num_ciphertexts(len(high)) == 1


@pytest.mark.parametrize(
    "selection", [MinDistortion(threshold=0.1), RandomEntries(fraction=0.3, seed=5), NoEntries(), AllEntries()]
)
def test_the_same_latents_give_the_same_sorted_set(selection):
    first, second = selection(latent(7)), selection(latent(7))
    assert torch.equal(first.positions, second.positions)
    assert bool((first.positions.diff() > 0).all())


def test_what_the_selections_choose():
    x = latent(1)
    assert NoEntries()(x).fraction == 0
    assert AllEntries()(x).fraction == 1
    assert RandomEntries(fraction=0.25, seed=1)(x).fraction == 0.25
    assert not torch.equal(
        RandomEntries(fraction=0.25, seed=1)(x).positions, RandomEntries(fraction=0.25, seed=2)(x).positions
    )
    assert MinDistortion(threshold=0.0)(x).fraction == 1


def test_the_threshold_is_a_budget_of_distortion():
    x = latent(2, (2, 4, 32, 32))
    cost = x.double().abs() * hill_cost(x)
    mask = MinDistortion(threshold=0.2)(x).mask()
    for picture, its in zip(cost, mask, strict=True):
        spent = picture[~its]
        assert spent.sum() < 0.2 * picture.sum() <= spent.sum() + picture[its].min()
        assert spent.max() <= picture[its].min(), "cheapest first"


def test_pictures_of_a_batch_are_chosen_alone():
    x = latent(3, (2, 4, 16, 16))
    both = MinDistortion(threshold=0.3)(x).mask()
    assert torch.equal(both[1:], MinDistortion(threshold=0.3)(x[1:]).mask())


def test_cost_is_large_where_it_is_smooth_and_is_hills():
    x = latent(4)
    x[..., :32] = 0.05 * x[..., :32]
    cost = hill_cost(x)
    assert cost[..., :24].mean() > 10 * cost[..., 40:].mean()
    # By hand, one place away from the borders, on one channel.
    one = latent(5, (1, 1, 40, 40)).double()
    kernel = torch.tensor([[-1.0, 2, -1], [2, -4, 2], [-1, 2, -1]], dtype=torch.float64)
    high = one[0, 0].unfold(0, 3, 1).unfold(1, 3, 1).mul(kernel).sum((-1, -2)).abs()
    mean = high.unfold(0, 3, 1).unfold(1, 3, 1).mean((-1, -2))
    assert float(hill_cost(one)[0, 0, 20, 20]) == pytest.approx(float((1 / mean)[11:26, 11:26].mean()), rel=1e-6)


def test_what_is_not_a_number_does_not_stay_in_the_clear():
    x = latent(6)
    x[0, 0, 0, 0] = torch.nan
    assert MinDistortion(threshold=0.5)(x).fraction == 1


def test_flat_latents_have_a_finite_cost():
    assert bool(hill_cost(torch.ones(1, 4, 8, 8)).isfinite().all())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MinDistortion(threshold=1.5), r"threshold must be in \[0, 1\], got 1.5"),
        (lambda: RandomEntries(fraction=-0.1, seed=0), r"fraction must be in \[0, 1\], got -0.1"),
        (lambda: hill_cost(torch.zeros(1, 4, 4, 8)), "latents must be 8 x 8 or larger, got \\(4, 8\\)"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@given(seed=st.integers(0, 999), density=st.floats(0, 1), batch=st.integers(1, 3))
@settings(max_examples=30)
def test_split_and_merge_are_inverse(seed, density, batch):
    x = latent(seed, (batch, 2, 5, 3))
    index_set = IndexSet.of_mask(torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < density)
    parts = index_set.split(x)
    assert len(parts.hidden) == len(index_set)
    assert torch.equal(parts.hidden, x.reshape(-1)[index_set.positions])
    assert torch.equal(index_set.merge(parts), x)


@pytest.mark.parametrize(
    "positions", [[1, 1], [2, 1], [-1, 0], [0, 6]], ids=["twice", "unsorted", "negative", "outside"]
)
def test_an_index_set_that_cannot_be(positions):
    with pytest.raises(ValueError, match=r"sorted, different and in \[0, 6\)"):
        IndexSet(shape=(2, 3), positions=torch.tensor(positions))


def test_other_wrong_index_sets_and_parts():
    with pytest.raises(ValueError, match="shape must have one axis or more"):
        IndexSet(shape=(), positions=torch.empty(0, dtype=torch.int64))
    index_set = IndexSet(shape=(2, 3), positions=torch.tensor([0, 5]))
    with pytest.raises(ValueError, match=r"the index set is of shape \(2, 3\), the tensor of \(3, 2\)"):
        index_set.split(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="parts of 3 and 4 entries came; expected 2, 4"):
        index_set.merge(Parts(torch.zeros(3), torch.zeros(4)))
