"""Arithmetic of the tables, on made-up pictures and seconds with known answers."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from sfumato.experiments.metric_names import BUNDLED
from sfumato.experiments.prompt_set_quality.costs import cost, num_device_steps
from sfumato.experiments.prompt_set_quality.expenses import expense_lines, reuse_lines
from sfumato.experiments.prompt_set_quality.judging import (
    Judged,
    Share,
    clip_change,
    distance,
    finished_prompts,
    judged,
    share_right,
)
from sfumato.experiments.prompt_set_quality.lines import Seconds, quality_lines, ratios, seconds_of
from sfumato.experiments.prompt_set_quality.portrait_prompts import portrait_prompts
from sfumato.experiments.prompt_set_quality.reuse_effect import effect_lines
from sfumato.experiments.prompt_set_quality.seconds import SecondsRow
from sfumato.experiments.prompt_set_quality.study import Study
from sfumato.experiments.prompt_set_quality.table_text import (
    effect_table,
    expense_table,
    quality_table,
    reuse_table,
    value_table,
)
from sfumato.experiments.prompt_set_quality.ways import DEVICE_ONLY, SERVER_ONLY, VANILLA, Way, all_ways, painting_ways
from sfumato.protocols.prompt_set.spec import PromptSet
from sfumato.simulation import simulate

SETTING = "3-1-2"
PLAIN, REUSE = Way(kind="prompt-set", setting=SETTING), Way(kind="+ reuse", setting=SETTING)


def made(way: str, index: int, gender: str, read: str, clip: float = 30.0, *, is_pivot: bool = False) -> Judged:
    return Judged(
        way=way,
        num_candidates=2,
        index=index,
        is_pivot=is_pivot,
        requested={"gender": gender},
        read={"gender": read, "glasses": "none", "hat": "hat"},
        shared={"glasses": "glasses", "hat": "hat"},
        clip_score=clip,
        features=np.array([index, clip], np.float32),
        server_distance=0.25 if is_pivot else 0.5 + index,
    )


@pytest.fixture
def pictures():
    server = [made(SERVER_ONLY.name, i, g, g, 30 + i, is_pivot=g == "man") for i, g in enumerate(["man", "woman"] * 2)]
    reuse = [replace(p, way=REUSE.name, clip_score=p.clip_score - 1) for p in server]
    return [*server, *reuse[:3], replace(reuse[3], read={**reuse[3].read, "gender": "man"})]


def test_right_pictures_are_counted_by_value_and_by_pivot(pictures):
    server, reuse = quality_lines(pictures, [], [], [SERVER_ONLY, REUSE])
    assert reuse.by_value == {("gender", "woman"): Share(1, 2), ("gender", "man"): Share(2, 2)}
    assert (reuse.pivot, reuse.other, reuse.requested) == (Share(2, 2), Share(1, 2), Share(3, 4))
    assert (reuse.pivot_distance, reuse.other_distance) == (0.25, 2.5)
    assert (server.requested, server.shared, server.other_distance) == (Share(4, 4), Share(4, 8), None)
    assert Share(0, 0).value is None


def test_all_requested_means_every_attribute():
    half = replace(made("x", 0, "man", "man"), requested={"gender": "man", "hat": "none"})
    assert share_right([half]) == (0, 1)
    assert share_right([half], "gender") == (1, 1)


def test_clip_scores_are_compared_prompt_by_prompt(pictures):
    server, reuse = quality_lines(pictures, [], [], [SERVER_ONLY, REUSE])
    assert server.clip_score == 31.5
    assert reuse.clip_change == (-1.0, (-1.0, -1.0))
    assert clip_change(pictures[:1], pictures[:1]) is None


def test_distances_and_what_there_is_no_distance_of(pictures):
    server, reuse = quality_lines(pictures, [], pictures[:4], [SERVER_ONLY, REUSE])
    assert server.to_server is None
    assert server.to_painter.value == pytest.approx(0, abs=1e-9)
    assert reuse.to_server.value == pytest.approx(0, abs=1e-9)  # features are the server's
    shifted = [replace(p, features=p.features + np.array([3, 4], np.float32)) for p in pictures[:4]]
    assert distance(pictures[:4], shifted).value == pytest.approx(25)
    assert distance(pictures[:1], pictures[:4]) is None


def test_the_painter_stands_first(pictures):
    painted = [replace(p, way="painter") for p in pictures[:4]]
    lines = quality_lines(pictures, painted, painted, [SERVER_ONLY])
    assert [line.way for line in lines] == ["painter", "server only"]


def test_pictures_are_judged_beside_their_prompts():
    prompts = portrait_prompts(2, 4)
    reads = [{**p.person.values(), "gender": "man"} for p in prompts]
    frame = pl.DataFrame(
        {
            "way": ["server only"] * 4,
            "num_candidates": [2] * 4,
            "prompt_index": [0, 1, 2, 3],
            "clip_score": [30.0] * 4,
            "read": [json.dumps(read) for read in reads],
            "features": [[0.0, 1.0]] * 4,
        }
    )
    assert finished_prompts(frame, prompts, [SERVER_ONLY]) == prompts
    assert finished_prompts(frame[1:], prompts, [SERVER_ONLY]) == prompts[1:]
    assert finished_prompts(frame, prompts, [SERVER_ONLY, DEVICE_ONLY]) == ()
    found = judged(frame, prompts)
    assert [p.is_all_right for p in found] == [p.requested["gender"] == "man" for p in prompts]
    assert [p.is_pivot for p in found] == [p.requested["gender"] == "man" for p in prompts]  # "man" sorts first
    assert all(p.shared_right.right == p.shared_right.asked > 0 for p in found)
    assert all("gender" not in p.shared for p in found)


def test_seconds_are_summed_up_and_set_beside_those_of_their_round():
    assert seconds_of([3.0, 1.0, 2.0]) == Seconds(middle=2.0, least=1.0, most=3.0, rounds=3)
    assert seconds_of([]) is None
    assert ratios({0: 4.0, 1: 9.0, 2: 1.0}, {0: 2.0, 1: 3.0}) == Seconds(middle=2.5, least=2.0, most=3.0, rounds=2)


def test_ways_share_pictures_where_a_set_changes_the_cost_alone():
    assert VANILLA.painted_by == SERVER_ONLY
    assert Way(kind="hybrid", setting=SETTING).painted_by == PLAIN
    assert len(all_ways((SETTING,))) == 7
    assert painting_ways((SETTING,)) == (SERVER_ONLY, DEVICE_ONLY, PLAIN, Way(kind="+ cache", setting=SETTING), REUSE)
    assert PLAIN.spec == PromptSet(server_steps="3-3-3", reuse_maps=False)
    assert REUSE.spec == PromptSet(server_steps="3-1-2", reuse_maps=True)


# costs


@pytest.fixture(scope="module")
def study(tiny_sd) -> Study:
    values = {"model": str(tiny_sd.path), "model_fingerprint": tiny_sd.unet_fingerprint, "height": 32, "width": 32}
    return Study(**values, settings=(SETTING,), num_inference_steps=4)


def test_counted_costs_are_those_of_a_run(study, tiny_sd):
    (prompt,) = portrait_prompts(6, 1)
    report = simulate(tiny_sd, REUSE.spec, device_model=tiny_sd.path)(
        prompt.text, seed=1, num_inference_steps=4, height=32, width=32, output_type="np"
    ).report
    found = cost(study, REUSE, 6, tiny_sd, (prompt,))
    assert found.server_flops == report.compute.cloud_flops
    assert 0 < found.client_flops < report.compute.client_flops  # which has the text encoder and the decoder too
    handshake = report.traffic.sent_bytes - found.sent_bytes
    assert 0 < handshake < 1000
    assert 0 < report.traffic.received_bytes - found.received_bytes < 1000


def test_costs_of_the_other_ways(study, tiny_sd):
    prompts = portrait_prompts(2, 2)
    server, device, vanilla = (cost(study, way, 2, tiny_sd, prompts) for way in (SERVER_ONLY, DEVICE_ONLY, VANILLA))
    assert (device.server_flops, device.sent_bytes, device.received_bytes) == (0, 0, 0)
    assert server.client_flops == vanilla.client_flops == 0
    assert device.client_flops == server.server_flops
    assert 1.8 < vanilla.server_flops / server.server_flops < 2  # the first step has one negative row for both
    assert [num_device_steps(study, way, tiny_sd) for way in (SERVER_ONLY, DEVICE_ONLY, REUSE)] == [0, 4, 1]


def row(way: Way, number: int, seconds: float, steps: list[float]) -> SecondsRow:
    return SecondsRow(
        case=f"{way.name} {number}",
        model_fingerprint="",
        side="server",
        num_candidates=2,
        round=number,
        way=way.name,
        seconds=seconds,
        steps=steps,
        threads=1,
        load=0.0,
        sfumato="",
        commit=None,
        torch="",
    )


def test_lines_of_seconds(tiny_sd):
    values = {"model": str(tiny_sd.path), "model_fingerprint": tiny_sd.unet_fingerprint, "height": 32, "width": 32}
    study = Study(**values, settings=("3-2-2",), num_inference_steps=4)
    reuse, cache = (Way(kind=kind, setting="3-2-2") for kind in ("+ reuse", "+ cache"))
    rows = [
        *(row(SERVER_ONLY, i, 2.0, [0.5] * 4) for i in range(2)),
        *(row(reuse, i, 3.0 + i, [9.0, 1.0, 0.1]) for i in range(2)),
        *(row(cache, i, 6.0, [9.0, 2.0, 0.1]) for i in range(2)),
    ]
    frame = pl.DataFrame([vars(r) for r in rows])
    lines = expense_lines(study, tiny_sd, portrait_prompts(2, 2), frame)
    by_way = {line.way: line for line in lines}
    assert by_way[SERVER_ONLY.name].relative_flops == 1
    assert by_way[reuse.name].relative == Seconds(middle=1.75, least=1.5, most=2.0, rounds=2)
    assert by_way[VANILLA.name].server is None
    (found,) = reuse_lines(study, lines, frame)
    assert (found.seconds.middle, found.seconds.most) == pytest.approx((3.5 / 6, 4 / 6))
    assert found.step == Seconds(middle=0.5, least=0.5, most=0.5, rounds=2)  # the first step is apart
    assert found.flops < 1
    assert "1.75 (1.50 to 2.00)" in expense_table(lines)
    assert "0.58 (0.50 to 0.67)" in reuse_table([found])


def test_what_reuse_does_is_counted_picture_by_picture(pictures):
    cached = [replace(p, way=f"+ cache, {SETTING}", server_distance=p.server_distance / 2) for p in pictures[:4]]
    lines = {line.whose: line for line in effect_lines([*pictures, *cached], [SETTING])}
    assert lines.keys() == {"own is the pivot", "own is another", "woman", "man"}
    assert lines["own is the pivot"].distance == (0.125, (0.125, 0.125))
    others = lines["own is another"]
    assert (others.pictures, others.without, others.distance[0]) == (2, 1.25, 1.25)
    assert others.clip == (-1.0, (-1.0, -1.0))
    assert lines["woman"].distance == others.distance
    assert effect_lines(cached, [SETTING]) == []
    assert "+0.125 [+0.125, +0.125]" in effect_table(list(lines.values()), BUNDLED)


def test_text_of_tables(pictures):
    lines = quality_lines(pictures, [], [], [SERVER_ONLY, REUSE])
    assert "| + reuse, 3-1-2 |" in quality_table(lines, BUNDLED)
    assert "-1.00 [-1.00, -1.00]" in quality_table(lines, BUNDLED)
    assert "75.0 %" in quality_table(lines, BUNDLED)
    assert "FID" not in quality_table(lines, BUNDLED)
    assert value_table(lines, BUNDLED).count("1/2") == 2
