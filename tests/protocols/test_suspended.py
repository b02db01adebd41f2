"""Computations that stop in the middle, and clouds whose U-Net does."""

import gc
import weakref
from functools import partial

import pytest
import torch
from greenlet import GreenletExit

from passes import error, random_inputs, split_pass, unsplit_pass
from recorded import served
from sfumato.protocols.strip_split.spec import Attended, Begin, Border, StripSplit, Surroundings
from sfumato.protocols.strip_split.suspended import Suspended
from sfumato.worker.catalog import worker_half


def test_questions_come_in_order_and_answers_go_back_in():
    def add(ask):
        return sum(ask(name) for name in ("one", "two", "three"))

    computation = Suspended(add)
    assert computation.start() == "one"
    assert computation.resume(1) == "two"
    assert not computation.is_done
    assert computation.resume(20) == "three"
    assert computation.resume(300) == 321
    assert computation.is_done


def test_a_computation_may_never_ask():
    computation = Suspended(lambda ask: 7)
    assert computation.start() == 7
    assert computation.is_done


@pytest.mark.parametrize("num_answers", [0, 1])
def test_what_goes_wrong_inside_is_raised_where_it_was_resumed(num_answers):
    def fail(ask):
        for _ in range(num_answers):
            ask("more?")
        raise KeyError("inside")

    computation = Suspended(fail)
    last = computation.start
    for _ in range(num_answers):
        assert last() == "more?"
        last = partial(computation.resume, True)
    with pytest.raises(KeyError, match="inside"):
        last()
    assert computation.is_done


def test_one_that_is_dropped_half_way_cleans_up_in_silence(capfd):
    ended = []

    def stop_half_way(ask):
        try:
            ask("and then?")
        except GreenletExit:
            ended.append("told")
            raise
        finally:
            ended.append("cleaned")

    computation = Suspended(stop_half_way)
    assert computation.start() == "and then?"
    del computation
    gc.collect()
    assert ended == ["told", "cleaned"]
    assert capfd.readouterr() == ("", "")


def test_several_go_on_in_any_order():
    def count(ask):
        return [ask(i) for i in range(3)]

    one, two = Suspended(count), Suspended(count)
    assert [one.start(), two.start(), two.resume("a"), one.resume("b")] == [0, 0, 1, 1]
    assert [one.resume("c"), two.resume("d")] == [2, 2]
    assert [two.resume("e"), one.resume("f")] == [["a", "d", "e"], ["b", "c", "f"]]


def forwards(unet):
    return [(module, module.__dict__.get("forward")) for module in unet.modules()]


def test_sessions_that_take_turns_give_right_answers_and_leave_the_served_unet_alone(tiny_sd):
    """One session's whole pass runs between two rounds of another's."""
    before = forwards(served(tiny_sd).unet)
    weights = {name: p.data_ptr() for name, p in served(tiny_sd).unet.named_parameters()}
    outer, inner = random_inputs(tiny_sd, seed=1), random_inputs(tiny_sd, size=(9, 12), seed=2)
    other = StripSplit(num_clouds=2, attention="qkv", wire="fp32")
    nested = []

    def watch(cloud, handle):
        count = 0

        def answer(message):
            nonlocal count
            count += 1
            if cloud == 0 and count in (2, 12):
                nested.append(split_pass(tiny_sd, other, *inner))
            return handle(message)

        return answer

    ours = split_pass(tiny_sd, StripSplit(num_clouds=3, wire="fp32"), *outer, watch)
    assert error(ours, unsplit_pass(tiny_sd, *outer)) <= 1e-4
    assert len(nested) == 2
    assert all(error(n, unsplit_pass(tiny_sd, *inner)) <= 1e-4 for n in nested)
    assert forwards(served(tiny_sd).unet) == before
    assert {name: p.data_ptr() for name, p in served(tiny_sd).unet.named_parameters()} == weights


def begin(folder) -> Begin:
    (latent, _), step = (
        random_inputs(folder, size=(8, 8)),
        {"step": 0, "lane": 0, "timestep": 1.0, "height": 8, "width": 8},
    )
    nothing = dict.fromkeys(("statistics", "values", "scales", "prompt_embeds", "pooled", "time_ids"))
    return Begin(latent=latent[:, :, :5], repeats=2, **nothing, **step)


def test_a_session_computes_with_the_served_weights_themselves(tiny_sd):
    unet = served(tiny_sd).unet
    half = worker_half(StripSplit(num_clouds=2, wire="fp32"), unet, 0)
    shared = dict(unet.named_parameters())
    assert half._lanes[0]._unet is not unet
    assert all(p is shared[name] for name, p in half._lanes[0]._unet.named_parameters())
    assert len(shared) == len(dict(half._lanes[0]._unet.named_parameters()))


def test_a_session_that_is_dropped_in_the_middle_of_a_step_frees_its_unet_in_silence(tiny_sd, capfd):
    half = worker_half(StripSplit(num_clouds=2, stem="clouds", wire="fp32"), served(tiny_sd).unet, 0)
    assert isinstance(half.handle(begin(tiny_sd)), Border)
    step, unet = weakref.ref(half._lanes[0]._step._greenlet), weakref.ref(half._lanes[0]._unet)
    del half
    assert step() is None, "ended at once, in this thread"
    gc.collect()
    assert unet() is None
    assert capfd.readouterr() == ("", "")
    assert torch.is_grad_enabled()


def test_a_step_that_begins_again_forgets_the_one_before(tiny_sd):
    half = worker_half(StripSplit(num_clouds=2, stem="clouds", wire="fp32"), served(tiny_sd).unet, 0)
    first = half.handle(begin(tiny_sd))
    answer = Surroundings(
        step=0, lane=0, round=0, path=first.path, statistics=first.statistics, values=torch.ones(1, 32, 8), scales=None
    )
    second = half.handle(answer)
    again = half.handle(begin(tiny_sd))
    assert (again.round, again.path) == (0, first.path)
    assert torch.equal(again.values, first.values)
    assert torch.equal(half.handle(answer).values, second.values)
    assert {Begin, Surroundings, Attended} == set(half.kinds)
