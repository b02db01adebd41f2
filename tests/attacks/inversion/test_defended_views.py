"""A defence stands between F1 and the attacker, who knows all of it but the noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from inverting_views import TwoTensors, view_of, whole_picture
from sfumato.attacks.inversion.defended import defended, operator_of
from sfumato.attacks.inversion.direct import DirectOptimisation
from sfumato.attacks.inversion.harness import clipped, invert, prior_draws
from sfumato.attacks.inversion.queries import Queries
from sfumato.attacks.targets import load_target
from sfumato.attacks.targets.painted_task import painted_pictures
from sfumato.defences.base import PublicSample
from sfumato.defences.drop_channels import DropChannels
from sfumato.defences.gaussian_noise import GaussianNoise
from sfumato.defences.quantise import Quantise
from sfumato.errors import BudgetSpent

DIRECT = DirectOptimisation(iterations=40, feature_norm="sum")


def public(first, count=8):
    pictures = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    return PublicSample(features=first(pictures), num_pictures=count, second=lambda parts: parts[0].flatten(1))


def leakage(view, pictures):
    found = invert(DIRECT, view, clipped(pictures), prior_draws(DIRECT, view, 1))
    return next(score for score in found.scores if score.metric == "psnr").leakage.mean()


def test_wholly_noised_features_give_no_more_than_the_prior_and_barely_noised_ones_the_picture(made, tiny_sd):
    """At a norm that none of them reaches. False failures: 1 dB above mid-grey from noise, in the mean over 6."""
    pictures = made(6)
    view = view_of(pictures, whole_picture, tiny_sd)
    noised = {
        multiplier: defended(view, noise.fit(public(whole_picture)), 0)
        for multiplier in (1e-5, 10.0)
        for noise in [GaussianNoise(noise_multiplier=multiplier, clip_norm=100.0)]
    }
    assert leakage(noised[1e-5], pictures) >= 5.0
    assert leakage(noised[10.0], pictures) <= 1.0


@pytest.mark.parametrize("defence", [GaussianNoise(), Quantise(), DropChannels()], ids=lambda each: each.name)
def test_shapes_stay_and_the_attackers_network_is_differentiable(defence, made, tiny_sd):
    first = TwoTensors()
    pictures = made(2)
    view = view_of(pictures, first, tiny_sd)
    after = defended(view, defence.fit(public(first)), 0)
    assert [part.shape for part in after.features] == [part.shape for part in view.features]
    assert not all(torch.equal(a, b) for a, b in zip(after.features, view.features, strict=True))
    asked = pictures.clone().requires_grad_()
    known = after.white_box()(asked)
    assert [part.shape for part in known] == [part.shape for part in view.features]
    assert torch.autograd.grad(known[0].sum(), asked)[0].abs().sum() > 0


def test_a_dropped_channel_is_dropped_in_the_attackers_network_too(made, tiny_sd):
    first, pictures = TwoTensors(), made(2)
    after = defended(view_of(pictures, first, tiny_sd), DropChannels(keep=0.2).fit(public(first)), 0)
    assert all(torch.equal(a, b) for a, b in zip(after.white_box()(pictures), after.features, strict=True))


def test_the_noise_follows_the_seed_and_the_cut(made, tiny_sd):
    view = view_of(made(1), whole_picture, tiny_sd)
    release = GaussianNoise().fit(public(whole_picture))
    found = [defended(view, release, seed).features[0] for seed in (1, 1, 2)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_black_box_answers_with_releases_within_its_budget(made, tiny_sd):
    pictures = made(2)
    queries = Queries(whole_picture, 5)
    view = replace(view_of(pictures, whole_picture, tiny_sd), first=queries)
    after = defended(view, Quantise(bits=1).fit(public(whole_picture)), 0)
    (answer,) = after.first(pictures)
    assert all(len(channel.unique()) <= 2 for channel in answer.movedim(1, 0))
    assert queries.spent == 2
    with pytest.raises(BudgetSpent):
        after.first(made(4))


def test_who_may_only_ask_a_defended_network_gets_releases(made, tiny_sd):
    pictures = made(2)
    view = view_of(pictures, whole_picture, tiny_sd)
    after = defended(view, GaussianNoise(noise_multiplier=0.1).fit(public(whole_picture)), 0)
    queries = Queries(after.first, 4)
    answers = [queries(pictures)[0] for _ in range(2)]
    assert not torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], after.features[0]), "the noise of the released features is not given away"
    assert torch.equal(after.white_box()(pictures)[0], after.white_box()(pictures)[0])


def test_accuracy_falls_when_nothing_useful_is_released():
    target = load_target("portraits-resnet")
    operator = operator_of(target, (128, 128), 12)
    cut = target.cut("L16", (128, 128))
    plain = operator.accuracy(cut)
    assert plain > 0.97
    noised = operator.accuracy(cut, operator.release(GaussianNoise(noise_multiplier=10.0), cut))
    assert noised < 0.5
    rounded = operator.accuracy(cut, operator.release(Quantise(bits=8), cut))
    assert rounded == pytest.approx(plain, abs=0.02)


def test_painted_pictures_have_the_size_asked_for_and_only_what_can_be_seen():
    found = painted_pictures(6, 3, (32, 48))
    assert found.pictures.shape == (6, 3, 32, 48)
    assert torch.equal(found.pictures, painted_pictures(6, 3, (32, 48)).pictures)
    assert all(("beard" in person) == (person["gender"] == "man") for person in found.people)
    with pytest.raises(ValueError, match="at least 1 portrait must be painted, got 0"):
        painted_pictures(0, 3, (32, 48))
    assert np.isfinite(found.pictures.numpy()).all()
