"""Training goes on where it stopped, keeps its best, and stops when told to."""

from dataclasses import replace

import pytest
import torch

from sfumato.attacks.inversion import network_training
from sfumato.attacks.inversion.checkpoint import read_checkpoint
from sfumato.attacks.inversion.inversion_network import InversionNetwork, Layout
from sfumato.attacks.inversion.network_training import Answered, Course, NetworkTraining
from sfumato.errors import ModelError, Unsupported

COURSE = Course(epochs=4, batch=4, at_once=3, learning_rate=0.01, patience=1, held_out=0.25, num_frames=1, seed=0)
LAYOUT = Layout(features=((1, 3, 4, 4),), output=(3, 4, 4), inner=(4, 4))


def answered():
    pictures = (torch.rand(12, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 255).byte()
    return Answered(pictures=pictures, texts=("",) * 12, features=(pictures.float() / 255 - 0.5,))


def squares(outputs, wanted, texts):
    assert len(texts) == len(outputs)
    return (outputs.sigmoid() - wanted).square().sum((1, 2, 3))


def training(course=COURSE, losses=squares):
    torch.manual_seed(0)
    return NetworkTraining(InversionNetwork(LAYOUT, 4), losses, 12, course)


def run(course=COURSE, *, kept=None, tell=lambda _: None, losses=squares, answers=answered):
    return training(course, losses).run("training", tell, answers, kept)


def stop_at(step):
    def stop(progress):
        if progress.done == step:
            raise KeyboardInterrupt

    return stop


def equal(one, other):
    weights = other.network.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in one.network.state_dict().items())


def test_the_loss_falls_and_the_best_epoch_is_kept():
    found = run(replace(COURSE, epochs=30))
    assert found.finished
    assert len(found.losses) == 30
    assert found.losses[-1] < 0.85 * found.losses[0]
    data, judges = answered(), slice(9, 12)
    loss = squares(found.network((data.features[0][judges],), 3), data.pictures[judges].float() / 255, [""] * 3).mean()
    torch.testing.assert_close(loss, found.losses.min())


@pytest.mark.parametrize("steps", [5, 6])
def test_going_on_equals_an_uninterrupted_training(tmp_path, steps):
    """Stopped inside an epoch and at its end; the learning rate was halved before in some."""

    kept = (tmp_path / "network.safetensors", "a", steps)
    assert not run(kept=kept, tell=stop_at(steps + 1)).finished
    done = []
    found, whole = run(kept=kept, tell=lambda progress: done.append(progress.done)), run()
    assert done[0] == steps + 1
    assert done[-1] == 12
    assert torch.equal(found.losses, whole.losses)
    assert equal(found, whole)


def test_a_trained_network_is_taken_as_it_is_and_goes_on_to_more_epochs(tmp_path):
    def nothing():
        raise AssertionError("there is nothing to ask")

    kept = (tmp_path / "network.safetensors", "a", 100)
    first = run(kept=kept)
    again = run(kept=kept, answers=nothing)
    assert equal(first, again)
    assert torch.equal(first.losses, again.losses)
    longer, whole = (replace(COURSE, epochs=6) for _ in range(2))
    assert equal(run(longer, kept=kept), run(whole))


def test_the_pictures_made_at_once_do_not_change_the_result():
    one, other = run(replace(COURSE, at_once=1)), run(replace(COURSE, at_once=9))
    torch.testing.assert_close(one.losses, other.losses)


def test_an_interrupted_training_gives_its_best():
    found = run(tell=stop_at(7))
    assert not found.finished
    assert len(found.losses) == 2
    assert not found.network.training
    assert equal(found, run(replace(COURSE, epochs=2)))


def test_an_interruption_before_the_first_step_is_one():
    def stop(outputs, wanted, texts):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(losses=stop)


def test_clips_stay_whole():
    seen = []

    def losses(outputs, wanted, texts):
        seen.append(wanted)
        return squares(outputs, wanted, texts)

    torch.manual_seed(0)
    course = replace(COURSE, num_frames=3, epochs=1, at_once=100, batch=3)
    network = InversionNetwork(replace(LAYOUT, num_frames=3), 4)
    NetworkTraining(network, losses, 12, course).run("training", lambda _: None, answered)
    pictures = answered().pictures.float() / 255
    places = [[int((pictures == one).all((1, 2, 3)).nonzero()) for one in part] for part in seen]
    assert sorted(places[:-1]) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert places[-1] == [9, 10, 11], "the held-out clip comes last"


def test_a_loss_that_is_no_number_is_told():
    with pytest.raises(Unsupported, match="loss is no number after any epoch: lower learning_rate"):
        run(losses=lambda outputs, wanted, texts: outputs.sum((1, 2, 3)) * torch.nan)


def test_slow_steps_are_kept_sooner(tmp_path, monkeypatch):
    file = tmp_path / "network.safetensors"
    run(tell=stop_at(2), kept=(file, "a", 100))
    assert not file.exists()
    monkeypatch.setattr(network_training, "_SECONDS_AT_RISK", 0.0)
    run(tell=stop_at(2), kept=(file, "a", 100))
    assert read_checkpoint(file, "a").iteration == 1


def test_another_tasks_checkpoint_is_refused_and_a_damaged_one_too(tmp_path):
    file = tmp_path / "network.safetensors"
    run(kept=(file, "a", 5))
    with pytest.raises(ValueError, match="belongs to other pictures or settings"):
        run(kept=(file, "b", 5))
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ModelError, match="is damaged: delete it to begin anew"):
        run(kept=(file, "a", 5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"held_out": 1.0}, "held_out must be between 0 and 1, got 1.0"),
        ({"num_frames": 12}, "needs at least two pictures or clips, one of them held out, got 1: raise queries"),
    ],
)
def test_courses_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        training(replace(COURSE, **change))
