"""Descents keep their best, go on where they stopped, and leave other pictures alone."""

import pytest
import torch

from sfumato.attacks.inversion.descent import Descent, Pace
from sfumato.attacks.inversion.watch import Watch
from sfumato.errors import ModelError

WANTED = torch.linspace(0, 1, 4 * 3 * 2 * 2).view(4, 3, 2, 2)


def pace(iterations, patience=0, min_gain=0.0):
    return Pace(iterations=iterations, learning_rate=0.1, patience=patience, min_gain=min_gain)


def towards(wanted):
    """Each picture is drawn to its own, at its own strength."""
    strengths = torch.logspace(-2, 2, len(wanted))

    def objective(variables, rows):
        return variables, (variables - wanted[rows]).square().sum((1, 2, 3)) * strengths[rows]

    return objective


def run(iterations, *, wanted=WANTED, watch=None, **options):
    descent = Descent(torch.zeros_like(wanted), pace(iterations), **options)
    return descent.run(towards(wanted), watch or Watch(), "part-1")


def test_it_arrives_and_keeps_the_best():
    found = run(300)
    assert found.finished
    assert found.losses.shape == (300, 4)
    torch.testing.assert_close(found.pictures, WANTED, atol=1e-2, rtol=0)
    torch.testing.assert_close(found.best, found.losses.min(0).values)
    assert (found.losses[-1] >= found.best).all()


def test_a_loss_that_rises_again_does_not_spoil_the_best():
    losses = iter([5.0, 1.0, 9.0, 9.0])

    def objective(variables, rows):
        loss = next(losses)
        return torch.full_like(variables, loss), variables.sum((1, 2, 3)) * 0 + loss

    found = Descent(torch.zeros(1, 3, 2, 2), pace(4)).run(objective, Watch(), "part-1")
    assert found.best.item() == 1.0
    assert found.pictures.unique().item() == 1.0


def test_a_batch_equals_its_pictures_one_by_one():
    together = run(20)
    strengths = torch.logspace(-2, 2, 4)
    for place in range(4):

        def objective(variables, rows, place=place):
            return variables, (variables - WANTED[place]).square().sum((1, 2, 3)) * strengths[place]

        alone = Descent(torch.zeros(1, 3, 2, 2), pace(20)).run(objective, Watch(), "part-1")
        assert torch.equal(alone.pictures[0], together.pictures[place])
        assert torch.equal(alone.losses[:, 0], together.losses[:, place])


def test_going_on_equals_an_uninterrupted_run(tmp_path):
    watch = Watch(folder=tmp_path, keep_every=3, task="a")
    run(7, watch=watch)
    found, whole = run(20, watch=watch), run(20)
    assert torch.equal(found.losses, whole.losses)
    assert torch.equal(found.pictures, whole.pictures)
    assert torch.equal(found.best, whole.best)


def test_an_interrupted_run_gives_its_best_and_goes_on_from_its_checkpoint(tmp_path):
    def stop(progress):
        if progress.done == 8:
            raise KeyboardInterrupt

    watch = Watch(folder=tmp_path, keep_every=3, task="a", on_iteration=stop)
    found = run(20, watch=watch)
    assert not found.finished
    assert len(found.losses) == 8
    torch.testing.assert_close(found.best, found.losses.min(0).values)
    done = []
    watch = Watch(folder=tmp_path, task="a", on_iteration=lambda progress: done.append(progress.done))
    again = run(20, watch=watch)
    assert done[0] == 7
    assert torch.equal(again.losses, run(20).losses)


def test_an_interruption_before_anything_was_found_is_one():
    def objective(variables, rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Descent(WANTED, pace(3)).run(objective, Watch(), "part-1")


def test_another_tasks_checkpoint_is_refused_and_a_damaged_one_too(tmp_path):
    run(4, watch=Watch(folder=tmp_path, task="a"))
    with pytest.raises(ValueError, match="belongs to other pictures or settings: name another folder"):
        run(4, watch=Watch(folder=tmp_path, task="b"))
    file = tmp_path / "part-1.safetensors"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ModelError, match="is damaged: delete it to begin anew"):
        run(4, watch=Watch(folder=tmp_path, task="a"))


def test_a_picture_on_a_plateau_is_finished_while_others_go_on():
    still = torch.tensor([True, False, False, False])

    def objective(variables, rows):
        losses = (variables - 100).square().sum((1, 2, 3))
        return variables, torch.where(still[rows], losses * 0 + 3, losses)

    found = Descent(torch.zeros_like(WANTED), pace(30, patience=5)).run(objective, Watch(), "part-1")
    assert found.losses[:, 0].isfinite().sum() == 6, "the first loss, and five that were no better"
    assert found.losses[:, 1:].isfinite().all()
    assert found.finished


def test_a_descent_ends_when_all_pictures_are_on_a_plateau(tmp_path):
    def objective(variables, rows):
        return variables, variables.sum((1, 2, 3)) * 0 + 3

    watch = Watch(folder=tmp_path, task="a")
    for _ in range(2):
        found = Descent(torch.zeros_like(WANTED), pace(30, patience=4)).run(objective, watch, "part-1")
        assert len(found.losses) == 5


def test_frames_of_a_clip_are_judged_together():
    losses = iter([[1.0, 4.0, 1.0, 1.0], [3.0, 1.0, 2.0, 2.0]])

    def objective(variables, rows):
        each = torch.tensor(next(losses))
        return each.view(4, 1, 1, 1).expand_as(variables), variables.sum((1, 2, 3)) * 0 + each

    found = Descent(torch.zeros_like(WANTED), pace(2), num_frames=2).run(objective, Watch(), "part-1")
    assert found.best.tolist() == [3.0, 1.0, 1.0, 1.0]
    assert found.pictures[:, 0, 0, 0].tolist() == [3.0, 1.0, 1.0, 1.0]


def test_projected_variables_stay_in_range():
    found = run(50, wanted=WANTED * 3 - 1, project=lambda pictures: pictures.clamp_(0, 1))
    assert found.pictures.min() >= 0
    assert found.pictures.max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"patience": -1}, "patience must be at least 0, got -1"),
    ],
)
def test_paces_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Pace(**{"iterations": 1, "learning_rate": 0.1, "patience": 0, "min_gain": 0.0} | options)
