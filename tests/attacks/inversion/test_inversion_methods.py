"""Attacks find what is there to be found, and nothing where there is nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from inverting_views import SIZE, TwoTensors, view_of, whole_picture
from sfumato.attacks.inversion.catalog import find_method
from sfumato.attacks.inversion.direct import DirectOptimisation
from sfumato.attacks.inversion.harness import clipped, invert, prior_draws
from sfumato.attacks.inversion.queries import Queries
from sfumato.attacks.inversion.view import Cut, FeatureView
from sfumato.attacks.inversion.watch import Watch
from sfumato.attacks.inversion.white_box import WhiteBox, best_trials
from sfumato.errors import BudgetSpent, LacksInput, Unsupported
from sfumato.metrics.pictures import psnr

DIRECT = DirectOptimisation(iterations=150, feature_norm="sum")
"""Against a mean over values, total variation would blur what the identity cut gives exactly."""
WHITE_BOX = WhiteBox(iterations=240, sampling_steps=1, memory_gib=1.0)
BRIEF = {
    "white-box": WhiteBox(iterations=4, sampling_steps=2, clip_sampling_steps=2, memory_gib=1.0),
    "direct": DirectOptimisation(iterations=4),
}


def decibels(pictures, originals):
    return psnr(clipped(pictures), clipped(originals))


@pytest.mark.parametrize("method", [DIRECT, WHITE_BOX], ids=["direct", "white-box"])
def test_features_of_the_identity_cut_give_the_picture(method, made, tiny_sd):
    """Of pictures that the diffusion model can make, so that its decoder sets no limit."""
    pictures = made(2)
    guess = method.run(view_of(pictures, whole_picture, tiny_sd))
    assert decibels(guess.pictures, pictures).min() >= 35


@pytest.mark.parametrize("method", [DIRECT, WHITE_BOX], ids=["direct", "white-box"])
@pytest.mark.parametrize("what", ["noise", "another picture"])
def test_features_of_something_else_give_no_more_than_the_prior(method, what, made, tiny_sd):
    """False failures: the mean over 6 pictures would have to be 1 dB above that of 4 draws each by luck."""
    pictures, others = made(6), made(6, seed=9)
    noise = torch.rand(pictures.shape, generator=torch.Generator().manual_seed(1))
    features = (noise,) if what == "noise" else (others,)
    view = view_of(pictures, whole_picture, tiny_sd, features=features)
    short = replace(method, iterations=40)
    found = invert(short, view, clipped(pictures), prior_draws(short, view, 4))
    score = next(score for score in found.scores if score.metric == "psnr")
    assert score.leakage.mean() <= 1.0
    right = view_of(pictures, whole_picture, tiny_sd)
    true = invert(short, right, clipped(pictures), prior_draws(short, right, 4))
    assert next(score for score in true.scores if score.metric == "psnr").leakage.mean() >= 5.0


def test_deeper_cuts_give_less(made, tiny_sd):
    pictures = made(4)

    def mean_over(side):
        return lambda batch: (functional.avg_pool2d(batch, side),)

    found = [
        decibels(DIRECT.run(view_of(pictures, mean_over(side), tiny_sd)).pictures, pictures).mean()
        for side in (1, 2, 4, 8)
    ]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("name", list(BRIEF))
@pytest.mark.parametrize("options", [{}, {"priors": ("a hat", "")}, {"priors": ("a hat",)}])
def test_a_batch_equals_its_pictures_one_by_one(name, options, made, tiny_sd):
    pictures, first = made(3), TwoTensors()
    method = BRIEF[name]
    if name == "white-box":
        method = replace(method, trial_iterations=2)
    together = method.run(view_of(pictures, first, tiny_sd, **options))
    apart = replace(method, batch_size=1).run(view_of(pictures, first, tiny_sd, **options))
    assert len(together.pictures) == 3
    torch.testing.assert_close(together.pictures, apart.pictures, atol=1e-4, rtol=0)
    torch.testing.assert_close(together.losses, apart.losses, atol=1e-3, rtol=1e-4)
    assert together.texts == apart.texts


def test_a_run_that_was_stopped_goes_on_to_the_same_end(tmp_path, made, tiny_sd):
    view, method = view_of(made(2), TwoTensors(), tiny_sd), BRIEF["white-box"]
    replace(method, iterations=2).run(view, Watch(folder=tmp_path))
    done = []
    found = method.run(view, Watch(folder=tmp_path, on_iteration=lambda progress: done.append(progress.done)))
    whole = method.run(view)
    assert done == [3, 4]
    assert torch.equal(found.pictures, whole.pictures)
    assert torch.equal(found.losses, whole.losses)


@pytest.mark.parametrize("change", [{"tv_weight": 2.0}, {"seed": 3}])
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, made, tiny_sd, change):
    view = view_of(made(2), TwoTensors(), tiny_sd)
    BRIEF["white-box"].run(view, Watch(folder=tmp_path))
    with pytest.raises(ValueError, match="belongs to other pictures or settings"):
        replace(BRIEF["white-box"], **change).run(view, Watch(folder=tmp_path))


def test_an_interrupted_run_gives_what_it_has_and_grey_for_the_rest(made, tiny_sd):
    def stop(progress):
        if progress.stage == "part-2":
            raise KeyboardInterrupt

    method = replace(BRIEF["direct"], batch_size=1)
    guess = method.run(view_of(made(3), TwoTensors(), tiny_sd), Watch(on_iteration=stop))
    assert not guess.finished
    assert guess.pictures.shape == (3, 3, *SIZE)
    assert guess.pictures[2].unique().item() == 0.5
    assert guess.losses.isfinite().sum(0).tolist() == [4, 1, 0]


def test_the_best_prior_is_the_one_of_least_loss():
    trials = [torch.tensor([1.0, 5.0, 2.0, 2.0]), torch.tensor([2.0, 1.0, 3.0, 3.0])]
    assert best_trials(trials, 1) == [0, 1, 0, 0]
    assert best_trials(trials, 2) == [1, 1, 0, 0]


def test_several_priors_are_tried_and_the_best_goes_on(made, tiny_sd):
    pictures, priors = made(2), ("a hat", "", "a beard")
    method = replace(WHITE_BOX, iterations=2, trial_iterations=3)
    stages = []
    watch = Watch(on_iteration=lambda progress: stages.append(progress.stage))
    view = view_of(pictures, TwoTensors(), tiny_sd, priors=priors)
    guess = method.run(view, watch)
    assert list(dict.fromkeys(stages)) == ["part-1-prior-1", "part-1-prior-2", "part-1-prior-3", "part-1"]
    alone = [
        replace(method, iterations=3).run(view_of(pictures, TwoTensors(), tiny_sd, priors=(text,))).losses.amin(0)
        for text in priors
    ]
    assert guess.texts == tuple(priors[place] for place in torch.stack(alone).argmin(0))


def test_the_text_term_counts_only_with_words(made, tiny_sd):
    pictures = made(1)
    without = [replace(BRIEF["white-box"], text_weight=weight) for weight in (0.0, 50.0)]
    losses = [method.run(view_of(pictures, TwoTensors(), tiny_sd)).losses for method in without]
    assert torch.equal(*losses)
    losses = [method.run(view_of(pictures, TwoTensors(), tiny_sd, priors=("a hat",))).losses for method in without]
    assert (losses[0] - losses[1]).abs().min() > 1


def test_frames_are_held_together(made, tiny_sd):
    """Far apart when each is alone, near when the weight of their spread is large."""
    pictures = made(2)

    def apart(weight):
        method = replace(BRIEF["white-box"], iterations=15, frame_weight=weight)
        guess = method.run(view_of(pictures, TwoTensors(), tiny_sd, num_frames=2))
        return (guess.pictures[0] - guess.pictures[1]).square().mean()

    assert apart(1e6) < 0.1 * apart(0.0)


def test_prior_only_guesses_differ_between_draws_and_not_between_features(made, tiny_sd):
    method, first = BRIEF["white-box"], TwoTensors()
    one, other = (view_of(made(2, seed), first, tiny_sd) for seed in (1, 2))
    assert torch.equal(method.prior_only(one, 0), method.prior_only(other, 0))
    assert not torch.equal(method.prior_only(one, 0), method.prior_only(one, 1))


def test_a_black_box_answers_without_a_gradient_until_its_budget_is_spent(made, tiny_sd):
    pictures = made(3)
    queries = Queries(whole_picture, budget=5)
    (answer,) = queries(pictures.requires_grad_())
    assert not answer.requires_grad
    with pytest.raises(BudgetSpent, match="3 pictures were asked for, and 2 of a budget of 5 are left: ask for fewer"):
        queries(pictures)
    queries(pictures[:2])
    assert queries.spent == 5
    view = replace(view_of(pictures.detach(), whole_picture, tiny_sd), first=queries)
    with pytest.raises(LacksInput, match="needs the network before the cut itself"):
        DIRECT.run(view)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ()}, "a view needs the features of at least one picture"),
        ({"features": (torch.zeros(4, 3),)}, r"features of 3 pictures must have that many rows, got shapes \[\(4, 3\)"),
        ({"num_frames": 2}, "3 pictures are no whole number of clips of 2"),
    ],
)
def test_views_that_cannot_be_are_refused(change, message, made, tiny_sd):
    view = view_of(made(3), whole_picture, tiny_sd)
    with pytest.raises(ValueError, match=message):
        replace(view, **change)


def test_no_field_of_a_view_holds_the_pictures(made, tiny_sd):
    """Behind a cut that keeps only means, no tensor in the view has the pictures' values."""
    view = view_of(made(2), lambda batch: (batch.mean((2, 3)),), tiny_sd)
    tensors = [part for part in vars(view).values() if isinstance(part, torch.Tensor)]
    assert not tensors
    assert [tuple(part.shape) for part in view.features] == [(2, 3)]
    assert set(FeatureView.__dataclass_fields__) == {
        "features",
        "num_pictures",
        "cut",
        "first",
        "model",
        "picture_size",
        "priors",
        "num_frames",
    }
    assert view.cut == Cut(target="tiny", layer="L1")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("white-box", {"text_weight": -1.0}, "text_weight must not be negative"),
        ("direct", {"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        find_method(name)(**settings)


def test_a_choice_that_there_is_not_is_refused():
    method = WhiteBox()
    # Run-time type checks, which only tests have, would refuse it first.
    object.__setattr__(method, "feature_norm", "median")
    with pytest.raises(ValueError, match="feature_norm must be one of sum, mean, relative, got 'median'"):
        method.__post_init__()


def test_an_unknown_method_is_told():
    with pytest.raises(ValueError, match="no inversion method 'guessing': choose one of white-box, direct"):
        find_method("guessing")


def test_too_little_memory_is_told(made, tiny_sd):
    def huge(pictures):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:116] DefaultCPUAllocator: can't allocate memory")

    view = replace(view_of(made(1), whole_picture, tiny_sd), first=huge)
    with pytest.raises(Unsupported, match="not enough memory: lower batch_size or memory_gib"):
        DIRECT.run(view)


def test_other_failures_are_not_taken_for_too_little_memory(made, tiny_sd):
    def odd(pictures):
        raise RuntimeError("unsupported memory format option")

    view = replace(view_of(made(1), whole_picture, tiny_sd), first=odd)
    with pytest.raises(RuntimeError, match="unsupported memory format"):
        DIRECT.run(view)


def test_what_a_method_returns_is_clipped():
    wild = torch.tensor([-3.0, 0.25, 7.0, torch.nan]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert clipped(wild)[0, :, :, 0].tolist() == [[0, 64], [255, 128]]
    assert clipped(wild).dtype == np.uint8
