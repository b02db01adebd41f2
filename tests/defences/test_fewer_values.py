"""Rounding takes few values, dropped channels are zero, and the catalog refuses what cannot be."""

import pytest
import torch

from sfumato.defences.base import PublicSample
from sfumato.defences.catalog import DEFENCES, defence_from
from sfumato.defences.drop_channels import DropChannels, importance
from sfumato.defences.quantise import Quantise
from sfumato.randomness import seeded_generator

SHAPES = {"map": (4, 6, 5, 5), "tokens": (4, 9, 6), "vector": (4, 6)}


def drawn(shape, seed=0, scale=1.0):
    return scale * torch.randn(shape, generator=seeded_generator(seed))


def sample_of(part, second=lambda parts: parts[0]):
    return PublicSample(features=(part,), num_pictures=4, second=second)


def by_channel(part, kind):
    return part.movedim(2 if kind == "tokens" else 1, 0).flatten(1)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("bits", [1, 2, 3])
def test_a_channel_takes_no_more_values_than_its_bits(kind, bits):
    public = drawn(SHAPES[kind])
    release = Quantise(bits=bits).fit(sample_of(public))
    (released,) = release.apply((drawn(SHAPES[kind], seed=1, scale=3.0),), seeded_generator(0))
    levels = [len(channel.unique()) for channel in by_channel(released, kind)]
    assert max(levels) <= 2**bits
    assert min(levels) >= 2
    low, high = by_channel(public, kind).amin(1), by_channel(public, kind).amax(1)
    assert (by_channel(released, kind).amax(1) <= high + 1e-5).all()
    assert (by_channel(released, kind).amin(1) >= low - 1e-5).all()


def test_rounding_is_to_the_nearest_level():
    public = torch.tensor([[0.0], [3.0], [1.0], [2.0]])
    release = Quantise(bits=2).fit(sample_of(public))
    (released,) = release.apply((torch.tensor([[0.4], [1.6], [-5.0], [9.0]]),), seeded_generator(0))
    assert released.flatten().tolist() == [0.0, 2.0, 0.0, 3.0]


def test_a_constant_channel_stays():
    release = Quantise(bits=1).fit(sample_of(torch.full((4, 2), 7.0)))
    (released,) = release.apply((torch.full((4, 2), 7.0),), seeded_generator(0))
    assert released.unique().tolist() == [7.0]


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("choice", ["importance", "seed"])
def test_dropped_channels_are_zero_and_kept_ones_as_they_were(kind, choice):
    part = drawn(SHAPES[kind])
    release = DropChannels(keep=0.4, choice=choice).fit(sample_of(part))
    (released,) = release.apply((part,), seeded_generator(0))
    zero = (by_channel(released, kind) == 0).all(1)
    assert zero.sum() == 3, "of 6, 0.4 rounded up are kept"
    assert torch.equal(by_channel(released, kind)[~zero], by_channel(part, kind)[~zero])


def test_the_choice_by_seed_follows_the_seed():
    part = drawn((4, 40))
    kept = [DropChannels(choice="seed", choice_seed=seed).fit(sample_of(part)).kept[0] for seed in (1, 1, 2)]
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[0], kept[2])


def test_importance_is_the_squared_change_of_a_linear_result():
    """For y = W f the change without channel c along random signs r has the mean square |W_c|^2 f_c^2."""
    part, weights = torch.ones(4, 6), torch.diag(torch.tensor([0.0, 1, 2, 3, 4, 5]))
    (found,) = importance(sample_of(part, lambda parts: parts[0] @ weights), seeded_generator(0))
    torch.testing.assert_close(found / 8, torch.tensor([0.0, 1, 4, 9, 16, 25]))


def test_channels_that_the_result_does_not_use_are_dropped_first():
    part = drawn((4, 6, 3, 3))
    release = DropChannels(keep=0.5).fit(sample_of(part, lambda parts: parts[0][:, [1, 3, 5]].mean((2, 3)) * 2))
    assert release.kept[0].tolist() == [False, True, False, True, False, True]


@pytest.mark.parametrize(
    ("name", "pairs", "message"),
    [
        ("fog", [], "no defence 'fog': choose one of gaussian-noise, quantise, drop-channels"),
        ("quantise", ["bits=0"], r"bits must be in \[1, 16\], got 0"),
        ("quantise", ["bits=x"], "bits must be a number, got 'x'"),
        ("quantise", ["depth=2"], "quantise has no setting 'depth': write FIELD=VALUE with one of bits"),
        ("drop-channels", ["keep=0"], "keep must be above 0 and at most 1, got 0.0"),
        ("drop-channels", ["choice=worst"], "choice must be one of importance, seed, got 'worst'"),
        ("drop-channels", ["choice_seed=-1"], "choice_seed must not be negative, got -1"),
    ],
)
def test_a_defence_that_cannot_be_is_told(name, pairs, message):
    with pytest.raises(ValueError, match=message):
        defence_from(name, pairs)


@pytest.mark.parametrize("kind", DEFENCES.values(), ids=DEFENCES)
def test_every_defence_says_what_it_claims_and_costs(kind):
    assert kind.claim.endswith(".")
    assert kind.cost.endswith(".")
