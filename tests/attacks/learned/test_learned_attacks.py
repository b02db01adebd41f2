"""What an attacker learns from features, on made-up features whose meaning is known."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from sfumato.attacks.learned.attribute_reader import AttributeReader, summary
from sfumato.attacks.learned.inverter import LearnedInverter
from sfumato.attacks.learned.lessons import features_at, lessons
from sfumato.attacks.learned.logistic import fitted, probabilities
from sfumato.attacks.learned.ridge import Ridge
from sfumato.attacks.learned.standard import Standard
from sfumato.attacks.view import Rehearsal
from sfumato.audit.made_runs import OwnRuns, RunMaker, view_of
from sfumato.audit.noise import noise_instead
from sfumato.errors import LacksInput
from sfumato.portraits.attributes import VALUES
from sfumato.protocols.plain.spec import Plain
from sfumato.wire.selection import keep_all

LAYER = "mid_block.resnets.1.norm1"
RUNS = 40


@dataclass(frozen=True)
class Idle(Rehearsal):
    """Has the name of a rehearsal that was made before."""

    name: str = ""

    def runs(self, num_pictures, keeps, *, same_messages=False):
        raise AssertionError("nothing is rehearsed again")


@pytest.fixture(scope="module")
def maker(tiny_sd):
    return RunMaker(model=tiny_sd, spec=Plain(), num_inference_steps=1, batch_size=20)


@pytest.fixture(scope="module")
def made(maker):
    ((recording, truth),) = maker.victims(6, keep_all)
    return recording, truth


@pytest.fixture(scope="module")
def portrait_runs(portraits):
    """Of the bundled model, with the attacker's own."""
    maker = RunMaker(model=portraits, spec=Plain(), num_inference_steps=2, batch_size=8)
    ((recording, truth),) = maker.victims(8, LearnedInverter().keeps)
    shape = truth.pictures.shape[:3]
    noise = view_of(noise_instead(recording), maker, (0,), shape, learns=True)
    return view_of(recording, maker, (0,), shape, learns=True), noise, truth


def test_pictures_follow_from_features_and_not_from_noise(portrait_runs):
    view, noise, truth = portrait_runs
    attack = LearnedInverter(runs=RUNS)

    def error(guess):
        return np.square(guess.pictures / 255 - truth.pictures / 255).mean()

    prior = error(attack.prior(view))
    assert error(attack.run(view)) < 0.85 * prior
    assert error(attack.run(noise)) > 0.95 * prior


def test_attributes_follow_from_features_and_not_from_noise(portrait_runs):
    view, noise, truth = portrait_runs
    attack = AttributeReader(runs=RUNS)

    def likelihood(guess):
        told = [
            guess.probabilities[name][row, values.index(truth.attributes[row][name])]
            for name, values in VALUES.items()
            for row in range(8)
        ]
        return np.log(told).mean()

    prior = attack.prior(view)
    for name, found in prior.probabilities.items():
        assert found.shape == (8, len(VALUES[name]))
        assert np.allclose(found.sum(1), 1)
    assert likelihood(attack.run(view)) > likelihood(prior) + 0.1
    assert likelihood(attack.run(noise)) < likelihood(prior)


def test_lessons_are_kept(maker, made, monkeypatch):
    own = OwnRuns(maker=maker, clouds=(0,))
    first = lessons(own, LAYER, -1, 20)
    assert len(first) == 20

    again = lessons(Idle(own.name), LAYER, -1, 20)
    assert torch.equal(first.attributes, again.attributes)


def test_too_few_runs_and_no_means_are_refused(maker, made):
    recording, truth = made
    view = view_of(recording, maker, (0,), truth.pictures.shape[:3])
    with pytest.raises(LacksInput, match="learns from runs of its own"):
        AttributeReader().run(view)
    with pytest.raises(ValueError, match="20 runs of its own"):
        lessons(OwnRuns(maker=maker, clouds=(0,)), LAYER, -1, 3)


def test_guidance_halves_are_side_by_side(maker, made):
    recording, truth = made
    view = view_of(recording, maker, (0,), truth.pictures.shape[:3])
    found = features_at(view, "conv_in", -1)
    channels = found.values.shape[1] // 2
    assert found.window.is_whole
    assert torch.equal(found.values[:, :channels], found.values[:, channels:])


def test_a_class_that_shows_is_read_and_one_that_does_not_keeps_its_frequency():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 30, generator=generator)
    shows, hidden = (rows[:, 0] > 0).long(), torch.randint(2, (200,), generator=generator)
    standard = Standard.of(rows[:150])
    fit, held = standard(rows[:150]), standard(rows[150:])
    found = probabilities(held, fitted(fit, shows[:150], 2))
    assert (found.argmax(1) == shows[150:]).float().mean() > 0.85
    blind = probabilities(held, fitted(fit, hidden[:150], 2))
    assert (blind[:, 0] - 0.5).abs().mean() < 0.15


def test_standard_rows_have_mean_0_and_mean_square_1_and_constants_are_left_out():
    rows = torch.randn(50, 8, generator=torch.Generator().manual_seed(1)) * 7 + 3
    rows[:, 4] = 2.0
    found = Standard.of(rows)(rows)
    assert found.mean(0).abs().max() < 1e-9
    assert float(found.square().sum(1).mean()) == pytest.approx(7 / 8 * 49 / 50, abs=1e-6)


def test_ridge_finds_a_linear_map_and_leaves_noise_to_the_mean():
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(120, 10, generator=generator).double() / 10**0.5
    rows -= rows[:100].mean(0)
    told, noise = rows @ torch.randn(10, 3, generator=generator).double() + 1, torch.randn(120, 3, generator=generator)
    assert (Ridge.of(rows[:100], told[:100])(rows[100:]) - told[100:]).abs().max() < 0.05
    blind = Ridge.of(rows[:100], noise[:100])
    assert (blind(rows[100:]) - blind.mean).square().mean() < 0.1


def test_the_summary_is_worked_by_hand():
    found = summary(torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]]))
    assert found.tolist() == [[4.0, pytest.approx(5**0.5), 2.0, 6.0, 3.0, 5.0]]
