"""Rows of the benches, from made-up runs; and one real run, on a real link."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sfumato.bench import link, one_run, scaling, steps
from sfumato.bench.one_run import LOCAL, Order, Outcome, StepSample, merged, run
from sfumato.bench.pacing import Forwarded
from sfumato.bench.watched import Watched, watch
from sfumato.bench.ways import named_way
from sfumato.cost.link import FIVE_G

STEP = StepSample(
    seconds=2.0, waiting_seconds=1.5, codec_seconds=0.5, rounds=10, sent_bytes=1_000_000, received_bytes=500_000
)
OUTCOME = Outcome(
    first=replace(STEP, seconds=9.0),
    steps=(STEP, replace(STEP, seconds=4.0), replace(STEP, seconds=6.0)),
    client_bytes=100,
    cloud_bytes=30,
    clouds_bytes=50,
)


def test_an_outcome_in_figures():
    assert OUTCOME.seconds == 4.0
    assert OUTCOME.mean("rounds") == 10
    assert OUTCOME.waiting_share == pytest.approx(3 * 1.0 / 12)
    assert OUTCOME.codec_share == pytest.approx(3 * 0.5 / 12)


def test_runs_of_one_way_are_taken_together():
    other = replace(OUTCOME, client_bytes=10, cloud_bytes=40, forwarded=Forwarded(sent_bytes=1, received_bytes=2))
    both = merged([OUTCOME, other, other])
    assert len(both.steps) == 9
    assert (both.client_bytes, both.cloud_bytes, both.clouds_bytes) == (100, 40, 50)
    assert both.forwarded == Forwarded(sent_bytes=2, received_bytes=4)


class Orders(list[Order]):
    """What was asked for, and the steps that every run pretends to have taken."""

    steps = OUTCOME.steps


@pytest.fixture
def made_up(monkeypatch) -> "Orders":
    """Runs that only write a grey picture: brighter by one where the clouds are two."""
    orders = Orders()

    def pretend(order: Order) -> Outcome:
        orders.append(order)
        level = 100 if order.way == LOCAL else 101
        if order.picture:
            Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(order.picture)
        carried = Forwarded(sent_bytes=3_300_000, received_bytes=1_650_000) if order.link else None
        slower = 3 if order.link else 2 if order.way != LOCAL else 1
        return replace(
            OUTCOME, steps=tuple(replace(s, seconds=s.seconds * slower) for s in orders.steps), forwarded=carried
        )

    monkeypatch.setattr(steps, "run", pretend)
    monkeypatch.setattr(link, "run", pretend)
    return orders


def rows_of(file) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_steps_beside_local_diffusers(made_up, tmp_path, tiny_sd, capsys):
    steps.bench_steps(
        steps.StepsRequest(
            model=str(tiny_sd.path),
            ways=["strip-split wire=int8"],
            num_clouds=[2, 4],
            steps=4,
            repeats=2,
            guidance_scale=5.0,
            height=None,
            width=None,
            pictures=True,
            out=tmp_path / "out",
        )
    )
    assert [order.way for order in made_up] == [LOCAL, "strip-split", "strip-split"] * 2, "they take turns"
    local, two, four = rows_of(tmp_path / "out/steps.jsonl")
    assert (local["ratio"], two["ratio"], four["ratio"]) == (1.0, 2.0, 2.0)
    assert (local["clouds"], two["clouds"], four["clouds"]) == (0, 2, 4)
    assert local["psnr_db"] is None, "identical"
    assert two["psnr_db"] == pytest.approx(10 * np.log10(255**2), abs=1e-3)
    assert two["spec"]["wire"] == "int8"
    assert len(two["steps"]) == 6
    assert two["torch"]
    printed = capsys.readouterr().out
    assert "strip-split wire=int8, n = 4" in printed
    assert "strip-split wire=int8, n = 4" in (tmp_path / "out/steps.txt").read_text()
    assert {f.name for f in (tmp_path / "out").glob("*.png")} == {
        "pictures.png",
        "picture-local-diffusers.png",
        "picture-strip-split-wire-int8-n-2.png",
        "picture-strip-split-wire-int8-n-4.png",
    }


def test_the_model_of_a_link_beside_a_measured_one(made_up, tmp_path, tiny_sd):
    link.bench_link(
        link.LinkRequest(
            model=str(tiny_sd.path),
            ways=["layer-split"],
            num_clouds=[2],
            link="5g",
            steps=4,
            repeats=1,
            height=None,
            width=None,
            out=tmp_path,
        )
    )
    assert [order.link for order in made_up] == [None, "81.14/340.56/20"]
    (row,) = rows_of(tmp_path / "link.jsonl")
    assert row["link"] == str(FIVE_G)
    assert row["modelled_seconds"] == pytest.approx(row["link_seconds"] + 8.0)
    assert row["measured_seconds"] == 12.0
    assert row["ratio"] == pytest.approx(row["modelled_seconds"] / 12.0)
    assert row["carried_over_counted"] == pytest.approx(1.1)
    # each round at least a round trip
    assert row["link_seconds"] > row["rounds"] * 0.02


def test_a_link_is_compared_in_whole_cycles(made_up, tmp_path, tiny_sd):
    request = link.LinkRequest(
        model=str(tiny_sd.path),
        ways=["strip-split attention_every=2"],
        num_clouds=[2],
        link="5g",
        steps=5,
        repeats=2,
        height=None,
        width=None,
        out=tmp_path,
    )
    with pytest.raises(ValueError, match="--steps must be at least 6, so that a cycle of steps is whole, got 5"):
        link.bench_link(request)
    assert not made_up
    made_up.steps = tuple(replace(STEP, seconds=s) for s in (9.0, 9.0, 9.0, 4.0, 1.0, 6.0, 3.0, 4.0))
    link.bench_link(replace(request, steps=9))
    (row,) = rows_of(tmp_path / "link.jsonl")
    assert row["loopback_seconds"] == 2 * 3.5, "of the cycles, whose means are 2.5 and 4.5"
    assert row["rounds"] == row["cycle"]["each"]["rounds"] / 2
    assert row["cycle"]["before"]["steps"] == 4


def test_scaling_counts_measures_and_plots(made_up, tmp_path):
    scaling.bench_scaling(
        scaling.ScalingRequest(
            counted_model="tiny-sd",
            measured_model="portraits",
            ways=["strip-split", "strip-split attention_every=2"],
            num_clouds=[2, 8],
            sizes=[16, 64],
            measured_sizes=[128, 64],
            link="5g",
            steps=2,
            repeats=1,
            out=tmp_path,
        )
    )
    rows = rows_of(tmp_path / "scaling.jsonl")
    every_step, every_second = (
        {(r["clouds"], r["height"]): r for r in rows if r["kind"] == "counted" and r["spec"]["attention_every"] == k}
        for k in (1, 2)
    )
    assert every_second[2, 64]["cycle"]["each"]["rounds"] == 2 * every_second[2, 64]["rounds"]
    assert "cycle" not in every_step[2, 64]
    assert "use fewer clouds or a larger picture" in every_step[8, 16]["refusal"]
    assert every_step[2, 64]["sent_bytes"] > every_step[2, 16]["sent_bytes"]
    assert every_step[2, 64]["rounds"] == every_step[8, 64]["rounds"] == every_step[2, 16]["rounds"]
    measured = [(r["height"], r["clouds"]) for r in rows if r["kind"] == "measured"]
    assert measured == [(128, 0), *[(128, 2), (128, 8)] * 2, (64, 0), *[(64, 8)] * 2]
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_a_real_run_over_a_shaped_link(tiny_sd, monkeypatch):
    def watch_nothing(name, command, poll_seconds) -> Watched:
        assert command[:3] == [sys.executable, "-m", "sfumato.bench.one_run"]
        one_run.main(*command[3:])
        return Watched(seconds=1, peak_bytes=1, largest_child_bytes=2, children_bytes=3)

    monkeypatch.setattr(one_run, "watch", watch_nothing)
    way = named_way("strip-split", 2)
    order = Order(way=way.spec.name, spec_json=way.spec.to_json(), model=str(tiny_sd.path), steps=3)
    outcome = run(replace(order, height=32, width=32, link="400/800/2"))
    assert len(outcome.steps) == 2
    assert all(step.seconds >= step.waiting_seconds >= step.rounds * 2e-3 > 0 for step in outcome.steps)
    assert outcome.forwarded is not None
    # TLS and HTTP/2 come on top of what the channel counts.
    assert outcome.forwarded.sent_bytes > sum(s.sent_bytes for s in outcome.steps) > 0
    assert outcome.forwarded.received_bytes > sum(s.received_bytes for s in outcome.steps) > 0
    assert outcome.client_bytes > 1 << 20
    assert (outcome.cloud_bytes, outcome.clouds_bytes) == (2, 3)


def test_memory_of_a_process_and_its_children():
    child = "x = bytearray(64 << 20); import time; time.sleep(0.3)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    found = watch("a parent", [sys.executable, "-c", code])
    assert found.children_bytes >= found.largest_child_bytes >= 64 << 20
    assert found.seconds >= 0.3


def test_a_command_that_fails_says_why():
    with pytest.raises(RuntimeError, match="local diffusers failed: no such model"):
        watch(LOCAL, [sys.executable, "-c", "import sys; sys.exit('no such model')"])
