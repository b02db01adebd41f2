"""Where steps differ, a cost is the mean of a cycle, and exact for whole cycles."""

import json
from copy import deepcopy
from dataclasses import astuple, replace
from functools import cache

import pytest
import typer
from typer.testing import CliRunner

from sfumato.cost.counting import count_cost
from sfumato.cost.link import FIVE_G, Link
from sfumato.cost.means import as_json, mean, mean_text
from sfumato.cost.speeds import Speeds
from sfumato.models.folder import find_architecture
from sfumato.protocols.base import StepCycle
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.simulation import simulate

TINY = find_architecture("tiny-sd")
SPECS = {
    "every second": StripSplit(num_clouds=2, attention_every=2),
    "every third, halves overlap": StripSplit(num_clouds=2, attention_every=3, overlap="halves", stem="clouds"),
    "every second, halves at clouds of their own": StripSplit(
        num_clouds=4, attention_every=2, cfg_clouds="separate", wire="int8"
    ),
    "every third, halves at clouds of their own": StripSplit(
        num_clouds=2, attention_every=3, cfg_clouds="separate", attention="qkv", cross_attention="cloud"
    ),
    "every second, differences": StripSplit(num_clouds=2, attention_every=2, wire="int8", differences="int4"),
    "differences": StripSplit(num_clouds=2, wire="int8", differences="int4"),
    "every second, clouds that meet": StripSplit(num_clouds=2, attention_every=2, borders="direct"),
}


@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_steps_repeat_as_the_spec_says(every):
    spec = StripSplit(attention_every=every)
    before, length = spec.step_cycle
    assert length == every
    assert all(spec.reuses_attention(s) == spec.reuses_attention(s + length) for s in range(before, before + 3 * every))


def test_all_steps_but_the_first_are_alike_unless_a_spec_says_otherwise():
    assert LayerSplit().step_cycle == StripSplit().step_cycle == StepCycle(before=1, length=1)


@cache
def traffic_after_steps(folder, spec, num_steps):
    """The counters of a real run after every step."""
    found = []

    def on_step_end(pipe, _, __, state):
        found.append(deepcopy(pipe.traffic))
        return state

    with simulate(folder, spec, scheduler="ddim") as pipe:
        pipe("a red hat", num_inference_steps=num_steps, seed=1, output_type="latent", callback_on_step_end=on_step_end)
    return found


def totals(cost, num_steps):
    return (
        cost.once.rounds + num_steps * cost.rounds,
        cost.once.sent_bytes + num_steps * cost.sent_bytes,
        cost.once.received_bytes + num_steps * cost.received_bytes,
        cost.once.between_bytes + num_steps * (cost.between.sent_bytes if cost.between else 0),
    )


@pytest.mark.parametrize("name", SPECS)
def test_equals_the_counters_of_a_run_after_every_cycle(tiny_sd, name):
    spec = SPECS[name]
    before, length = spec.step_cycle
    cost = count_cost(tiny_sd, spec, FIVE_G)
    traffic = traffic_after_steps(tiny_sd, spec, before + 2 * length)
    for num_steps in range(before, before + 2 * length + 1, length):
        counted = traffic[num_steps - 1]
        between = sum(counted.between_bytes)
        assert totals(cost, num_steps) == (counted.rounds, counted.sent_bytes, counted.received_bytes, between)
    earlier, later = traffic[-1 - length].by_topic, traffic[-1].by_topic
    for topic, spent in cost.per_cloud.items():
        tallies = [(a[topic], b[topic]) for a, b in zip(earlier, later, strict=True)]
        sent = [b.sent_bytes - a.sent_bytes for a, b in tallies]
        received = [b.received_bytes - a.received_bytes for a, b in tallies]
        assert {b.requests - a.requests for a, b in tallies} == {spent.rounds * length}
        assert (spent.up.total * length, spent.up.all_clouds * length) == (max(sent), sum(sent))
        assert (spent.down.total * length, spent.down.all_clouds * length) == (max(received), sum(received))
        assert (spent.up.min, spent.down.min) == tuple(
            min(getattr(b, f"min_{way}_bytes") for _, b in tallies) for way in ("sent", "received")
        )


@pytest.mark.parametrize("every", [2, 3])
def test_a_cycle_of_means_is_its_whole_numbers(every):
    cost = count_cost(TINY, StripSplit(num_clouds=2, attention_every=every), FIVE_G)
    start, each = cost.cycle.before, cost.cycle.each
    assert (start.steps, each.steps) == (4, every)
    for num_cycles in (0, 1, 6):
        spent = (a + num_cycles * b for a, b in zip(astuple(start), astuple(each), strict=True))
        num_steps, *counters = spent
        assert totals(cost, num_steps) == tuple(counters[:4])
    assert (cost.compute.client_flops * every, cost.compute.cloud_flops * every) == (
        each.client_flops,
        each.cloud_flops,
    )
    assert sum(topic.cloud_flops for topic in cost.per_cloud.values()) == cost.compute.cloud_flops


def test_between_whole_cycles_the_run_is_ahead_of_the_means(tiny_sd):
    spec = SPECS["every third, halves overlap"]
    cost, attending = (count_cost(tiny_sd, s, FIVE_G) for s in (spec, replace(spec, attention_every=1)))
    sent = [t.sent_bytes for t in traffic_after_steps(tiny_sd, spec, 10)]
    beyond = [real - totals(cost, number)[1] for number, real in enumerate(sent, 1)]
    surplus = attending.sent_bytes - cost.sent_bytes
    assert beyond == [-3 * surplus, -2 * surplus, -surplus, 0, *(surplus, surplus / 2, 0) * 2]


def test_seconds_are_those_of_what_is_counted():
    spec = StripSplit(num_clouds=2, attention_every=3)
    link = Link(up_mbit=1, down_mbit=2, rtt_milliseconds=30)
    on_link = count_cost(TINY, spec, link)
    attending, reusing = (
        count_cost(TINY, s, link, speeds=Speeds(client_gflops=1)) for s in (StripSplit(num_clouds=2), spec)
    )
    for spent, seconds in ((on_link, on_link.seconds_per_step), (on_link.once, on_link.once.seconds)):
        by_hand = 0.03 * spent.rounds + link.up_seconds(spent.sent_bytes) + link.down_seconds(spent.received_bytes)
        assert seconds == pytest.approx(by_hand)
    client_flops = reusing.compute.client_flops
    assert reusing.step_seconds.client == pytest.approx(client_flops / 1e9)
    assert reusing.once.seconds - on_link.once.seconds == pytest.approx(
        4 * (attending.compute.client_flops - client_flops) / 1e9
    )


def test_a_link_of_round_trips_has_less_at_the_start():
    far = Link(up_mbit=1e6, down_mbit=1e6, rtt_milliseconds=100)
    cost = count_cost(TINY, StripSplit(num_clouds=2, attention_every=2), far)
    assert cost.once.rounds < 0, "a step that uses attention again asks for samplers' borders"
    assert cost.once.seconds == pytest.approx(0.1 * cost.once.rounds, rel=1e-2)


def run_cost(*arguments):
    from sfumato.cli.cost import cost

    app = typer.Typer()
    app.command()(cost)
    return CliRunner().invoke(app, ["--model", "tiny-sd", *arguments], catch_exceptions=False)


def test_json_has_means_and_the_whole_numbers_behind_them():
    found = json.loads(run_cost("--set", "attention_every=2", "--format", "json").stdout)
    before, each = found["cycle"]["before"], found["cycle"]["each"]
    assert (
        set(before)
        == set(each)
        == {"steps", "rounds", "sent_bytes", "received_bytes", "between_bytes", "client_flops", "cloud_flops"}
    )
    assert all(type(number) is int for number in (*before.values(), *each.values()))
    assert found["rounds"] == each["rounds"] / 2
    assert found["totals"]["sent_bytes"] == each["sent_bytes"] / 2
    assert found["once"]["rounds"] == before["rounds"] - 4 * found["rounds"]
    assert "after the first 4 they repeat in cycles of 2" in found["notes"][1]


def test_where_steps_are_alike_no_cycle_is_said():
    found = json.loads(run_cost("--format", "json").stdout)
    assert "cycle" not in found
    assert type(found["rounds"]) is int
    assert "every step but the first" in found["notes"][1]


def test_the_table_shows_means_and_the_cycle():
    shown = " ".join(run_cost("--set", "attention_every=3", "--set", "attention=qkv").stdout.split())
    for text in ("mean of 3 denoising steps", "once a run, beyond the means:", "a cycle of 3 steps:", "4 steps:"):
        assert text in shown


def test_means_are_exact_and_whole_where_they_can_be():
    assert type(mean(6, 3)) is int
    assert 3 * mean(7, 3) == 7
    assert [mean_text(mean(n, 3)) for n in (6, 7, -7)] == ["2", "2.3", "-2.3"]
    assert as_json({"a": mean(7, 2), "b": {"c": mean(6, 2)}, "d": "e"}) == {"a": 3.5, "b": {"c": 3}, "d": "e"}
