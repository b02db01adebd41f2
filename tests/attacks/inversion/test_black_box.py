"""Black-box attacks learn to undo what can be undone, and ask no more than they may."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import Tensor

from inverting_views import SIZE, TwoTensors, view_of, whole_picture
from sfumato.attacks.inversion.black_box import BlackBox, BlackBoxDecoder, BlackBoxDirect
from sfumato.attacks.inversion.harness import clipped, invert, prior_draws
from sfumato.attacks.inversion.queries import Queries
from sfumato.attacks.inversion.watch import Watch
from sfumato.errors import BudgetSpent

NUM_QUESTIONS = 48
FORMS = [BlackBoxDirect, BlackBoxDecoder, BlackBox]
NAMES = [form.name for form in FORMS]


@pytest.fixture(scope="session")
def folder(made, tmp_path_factory):
    """Pictures that the tiny model made, with words."""
    found = tmp_path_factory.mktemp("questions")
    for place, picture in enumerate(clipped(made(NUM_QUESTIONS, seed=7))):
        Image.fromarray(picture).save(found / f"{place:02}.png")
        (found / f"{place:02}.txt").write_text("a hat" if place % 2 else "a beard")
    return str(found)


@pytest.fixture
def attack(folder):
    """A short one of a form."""

    def make(form, **settings):
        if form is BlackBox:
            settings = {"sampling_steps": 1, "memory_gib": 1.0} | settings
        settings = {"epochs": 6, "training_batch": 8, "queries": NUM_QUESTIONS, "at_once": 16} | settings
        return form(questions=folder, **{"channels": 8} | settings)

    return make


def leakage(method, view, pictures):
    found = invert(method, view, clipped(pictures), prior_draws(method, view, 1))
    return next(score for score in found.scores if score.metric == "psnr").leakage.mean()


def meaningless(pictures: Tensor) -> tuple[Tensor, ...]:
    """Features that tell nothing of a picture, and yet differ between pictures."""
    seed = int(pictures.sum() * 1e4) % 2**31
    return (torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed)),)


@pytest.mark.parametrize("form", FORMS, ids=NAMES)
def test_features_that_tell_all_are_inverted(form, attack, made, tiny_sd):
    pictures = made(6)
    assert leakage(attack(form), view_of(pictures, whole_picture, tiny_sd), pictures) >= 2.0


@pytest.mark.parametrize("form", FORMS, ids=NAMES)
def test_features_that_are_noise_give_no_more_than_the_prior(form, attack, made, tiny_sd):
    """False failures: a guess that does not depend on the pictures would have to beat the questions' mean by 1 dB."""
    pictures = made(6)
    method = attack(form, epochs=3)
    assert leakage(method, view_of(pictures, meaningless, tiny_sd), pictures) <= 1.0


def test_all_forms_have_equally_many_parameters(attack, made, tiny_sd):
    view = view_of(made(2), TwoTensors(), tiny_sd)
    shapes = ((1, 5, *SIZE), (1, 3, 4, 4))
    counts = [sum(v.numel() for v in attack(form, channels=24).network(view, shapes).parameters()) for form in FORMS]
    assert counts == pytest.approx([counts[-1]] * 3, rel=0.05)
    clips = replace(view, num_frames=2)
    mixed = [attack(BlackBox, channels=24, mix_frames=mix).network(clips, shapes) for mix in (True, False)]
    mixed = [sum(v.numel() for v in network.parameters()) for network in mixed]
    assert mixed == pytest.approx([mixed[0]] * 2, rel=0.05)


def test_exactly_the_stated_questions_are_asked(attack, made, tiny_sd):
    queries = Queries(whole_picture, budget=20)
    view = replace(view_of(made(3), whole_picture, tiny_sd), first=queries)
    method = attack(BlackBoxDirect, queries=20, epochs=1, batch_size=1)
    assert len(method.run(view).pictures) == 3
    assert queries.spent == 20


def test_more_questions_than_the_budget_leaves_are_refused_before_any_is_asked(attack, made, tiny_sd):
    queries = Queries(whole_picture, budget=40)
    view = replace(view_of(made(2), whole_picture, tiny_sd), first=queries)
    with pytest.raises(BudgetSpent, match="is to ask about 41 pictures, and 40 of a budget of 40 are left: lower quer"):
        attack(BlackBoxDirect, queries=41).run(view)
    assert queries.spent == 0


def test_the_network_before_the_cut_is_only_asked(attack, made, tiny_sd):
    """No gradient flows through it, and it sees nothing but the questions."""
    seen = []

    def first(pictures):
        seen.append(pictures)
        return (pictures * 2,)

    view = view_of(made(2), first, tiny_sd)
    seen.clear()
    attack(BlackBoxDirect, epochs=1).run(view)
    assert sum(map(len, seen)) == NUM_QUESTIONS
    assert not any(part.requires_grad for part in seen)


def test_a_trained_network_is_kept_and_serves_other_pictures(attack, made, tiny_sd, tmp_path):
    asked = []

    def network(scale):
        def first(pictures):
            asked.append(len(pictures))
            return (pictures * scale,)

        return first

    method, watch = attack(BlackBoxDirect, epochs=2), Watch(networks=tmp_path)
    method.run(view_of(made(2), network(1.0), tiny_sd), watch)
    asked.clear()
    other = view_of(made(3, seed=4), network(1.0), tiny_sd)
    kept = method.run(other, watch)
    assert sum(asked) == 3 + 32, "the pictures behind the view, and the first questions, which name the network"
    torch.testing.assert_close(kept.pictures, method.run(other).pictures)
    assert len(list(tmp_path.iterdir())) == 1
    method.run(view_of(made(2), network(2.0), tiny_sd), watch)
    assert len(list(tmp_path.iterdir())) == 2, "another network under the same name"


def test_an_interrupted_training_gives_pictures_and_goes_on_to_the_same_end(attack, made, tiny_sd, tmp_path):
    def stop(progress):
        if progress.stage.endswith("training") and progress.done == 9:
            raise KeyboardInterrupt

    pictures, method = made(2), attack(BlackBoxDirect, epochs=3)

    def view():
        return view_of(pictures, lambda batch: (batch,), tiny_sd)

    first = method.run(view(), Watch(networks=tmp_path, on_iteration=stop, keep_every=4))
    assert not first.finished
    assert first.pictures.shape == (2, 3, *SIZE)
    stages = []
    watch = Watch(networks=tmp_path, keep_every=4, on_iteration=lambda told: stages.append((told.stage, told.done)))
    found, whole = method.run(view(), watch), method.run(view())
    assert next(done for stage, done in stages if stage == "part-1 training") == 9
    assert torch.equal(found.pictures, whole.pictures)
    assert torch.equal(found.losses, whole.losses)


@pytest.mark.parametrize("form", FORMS, ids=NAMES)
def test_a_batch_equals_its_pictures_one_by_one(form, attack, made, tiny_sd):
    view = view_of(made(3), TwoTensors(), tiny_sd)
    together, apart = (attack(form, epochs=1, queries=12, batch_size=size).run(view) for size in (64, 1))
    torch.testing.assert_close(together.pictures, apart.pictures, atol=1e-4, rtol=0)
    assert together.losses.shape == (1, 3)


def test_frames_of_a_clip_serve_each_other(attack, made, tiny_sd):
    """After training, another second frame makes another first guess, where frames are mixed."""
    pictures = made(4)
    changed = torch.cat([pictures[:1], made(1, seed=5), pictures[2:]])

    def guesses(of, mix):
        method = attack(BlackBoxDirect, epochs=3, mix_frames=mix)
        return method.run(view_of(of, whole_picture, tiny_sd, num_frames=2)).pictures

    before, after = guesses(pictures, True), guesses(changed, True)
    assert not torch.allclose(before[0], after[0], atol=1e-4)
    torch.testing.assert_close(before[2:], after[2:])
    torch.testing.assert_close(guesses(pictures, False)[0], guesses(changed, False)[0])


def test_words_go_into_the_model_and_the_loss(attack, made, tiny_sd):
    pictures = made(2)
    brief = {"epochs": 1, "queries": 12}

    def run(prior, **settings):
        view = view_of(pictures, TwoTensors(), tiny_sd, priors=(prior,) if prior else ())
        return attack(BlackBox, **brief, **settings).run(view)

    bare, hat, beard = run(""), run("a hat"), run("a beard")
    assert not torch.equal(bare.pictures, hat.pictures)
    assert not torch.equal(hat.pictures, beard.pictures)
    assert hat.texts == ("a hat", "a hat")
    assert torch.equal(hat.losses, beard.losses), "one training serves both"
    assert (run("a hat", text_weight=50.0).losses - hat.losses).abs().min() > 1
    assert torch.equal(run("", text_weight=50.0).losses, bare.losses)


def test_several_priors_are_told_apart_by_counted_questions(attack, made, tiny_sd):
    pictures, first, words = made(2), TwoTensors(), ("a hat", "a beard")
    queries = Queries(first, budget=16)
    method = attack(BlackBox, epochs=1, queries=16, trial_queries=4)
    view = replace(view_of(pictures, first, tiny_sd, priors=words), first=queries)
    guess = method.run(view)
    assert queries.spent == 16
    for row, text in enumerate(guess.texts):
        alone = [method.run(replace(view, priors=(word,), first=first)).pictures[row] for word in words]
        distances = [
            sum((a - b).square().sum() for a, b in zip(first(each[None]), first(pictures[row, None]), strict=True))
            for each in alone
        ]
        chosen = words.index(text)
        assert distances[chosen] == min(distances)
        torch.testing.assert_close(guess.pictures[row], alone[chosen], atol=1e-4, rtol=0)
    with pytest.raises(
        ValueError, match="2 priors are told apart by asking about each guess: set trial_queries to 4 or"
    ):
        attack(BlackBox, epochs=1).run(view)


def test_the_prior_is_the_mean_of_the_questions(attack, made, tiny_sd):
    view = view_of(made(3), whole_picture, tiny_sd)
    for form in FORMS:
        (found,) = prior_draws(attack(form), view, 1)
        assert abs(found[0] - clipped(made(NUM_QUESTIONS, seed=7)).mean(0)).max() <= 1
        assert (found[0] == found[2]).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"queries": 0}, "queries must be at least 1, got 0"),
        ({"queries": 8, "trial_queries": 8}, r"trial_queries must be in \[0, 8\), got 8"),
        ({"held_out": 0.0}, "held_out must be between 0 and 1, got 0.0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BlackBoxDirect(**settings)


def test_too_few_pictures_are_told(attack, made, tiny_sd):
    with pytest.raises(ValueError, match="has 48 pictures and 49 are to be asked about: lower queries"):
        attack(BlackBoxDirect, queries=49).run(view_of(made(1), whole_picture, tiny_sd))
