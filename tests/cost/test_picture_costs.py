"""Whole pictures under prompt-set: bytes against the counters of a run, FLOPs against the report's and the paper's."""

import json

import pytest
from typer.testing import CliRunner

from recorded import in_process
from sfumato.cli.app import app
from sfumato.cost.link import FIVE_G, Link
from sfumato.cost.picture import TABLE_7, count_picture
from sfumato.cost.speeds import Speeds
from sfumato.models.folder import find_architecture
from sfumato.protocols.prompt_set.spec import PromptSet

SPECS = {
    "fp16": PromptSet(server_steps="2-1-1", reuse_maps=True),
    "history": PromptSet(server_steps="1-1-1", handoff="ship-history", wire_dtype="fp32"),
    "another schedule": PromptSet(server_steps="4-2-4", server_scheduler="lcm", server_inference_steps=8),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("model", ["tiny_sd", "tiny_sdxl"])
def test_what_is_counted_is_what_a_run_counts(request, model, name):
    folder, spec = request.getfixturevalue(model), SPECS[name]
    pipe = in_process(folder, spec, "dpm++")
    report = pipe("an old man", negative_prompt="blurred", height=32, width=24, num_inference_steps=4, seed=3).report
    prompts = report.to_dict()["candidate_sets"][0]["candidates"]
    counted = count_picture(
        folder,
        spec,
        FIVE_G,
        num_candidates=6,
        num_inference_steps=4,
        device_model=folder,
        height=32,
        width=24,
        prompts=prompts,
        negative="blurred",
    )
    assert counted.candidates == 6
    # A session time-out of 300 s and one of 1 s take the same bytes; a seed takes 5 to 9.
    assert abs(counted.sent_bytes - report.traffic.sent_bytes) <= 4
    assert counted.received_bytes == report.traffic.received_bytes
    assert counted.rounds == report.traffic.rounds
    assert counted.server_flops == report.compute.cloud_flops
    assert counted.client_weight_bytes == report.compute.client_weight_bytes
    assert counted.client_flops + counted.client_text_and_decoder_flops == report.compute.client_flops


def test_the_papers_own_cell_is_beside_the_counted_one_where_the_settings_are_the_papers():
    model, settings = find_architecture("sd15"), {"num_candidates": 4, "num_inference_steps": 25}
    counted = count_picture(model, PromptSet(server_steps="5-3-3", reuse_maps=True), FIVE_G, **settings)
    assert counted.published_flops == TABLE_7["sd15", "5-3-3"][4] * 1e12
    assert counted.published_way_flops == pytest.approx(counted.published_flops, rel=0.03)
    assert counted.client_flops is None
    assert count_picture(model, PromptSet(server_steps="2-1-1"), FIVE_G, **settings).published_flops is None


def test_seconds_are_the_sum_of_what_is_modelled(tiny_sd):
    def seconds(**settings):
        arguments = {"num_candidates": 2, "num_inference_steps": 4, "device_model": tiny_sd} | settings
        return count_picture(tiny_sd, SPECS["fp16"], Link(up_mbit=8, down_mbit=8, rtt_milliseconds=100), **arguments)

    plain = seconds()
    assert plain.seconds == pytest.approx(0.2 + (plain.sent_bytes + plain.received_bytes) / 1e6)
    computing = seconds(speeds=Speeds(client_gflops=1.0, cloud_gflops=2.0))
    server = (computing.server_flops + computing.server_text_flops) / 2e9
    client = (computing.client_flops + computing.client_text_and_decoder_flops) / 1e9
    assert computing.seconds == pytest.approx(plain.seconds + server + client)
    assert plain.times_alone == pytest.approx(plain.server_flops / plain.alone_flops)


def test_the_command_prints_a_row_for_each_size_of_the_set(tiny_sd):
    arguments = ["cost", "--protocol", "prompt-set", "--set", "server_steps=2-1-1", "--steps", "4"]
    arguments += ["--model", str(tiny_sd.path), "--device-model", str(tiny_sd.path)]
    table = CliRunner().invoke(app, [*arguments, "--candidates", "2,6", "--as-published"])
    assert table.exit_code == 0, table.output
    assert "as the paper counts" in table.output
    assert "attention maps reused" in table.output
    rows = json.loads(CliRunner().invoke(app, [*arguments, "--candidates", "2,6", "--format", "json"]).output)
    assert [row["candidates"] for row in rows] == [2, 6]
    assert rows[0]["server_flops"] < rows[1]["server_flops"]
    one = json.loads(CliRunner().invoke(app, [*arguments, "--candidates", "2", "--format", "json"]).output)
    assert one == rows[0]


def test_a_set_must_be_of_some_size(tiny_sd):
    result = CliRunner().invoke(app, ["cost", "--protocol", "prompt-set", "--candidates", "0"])
    assert isinstance(result.exception, ValueError)
    assert "--candidates takes one or more numbers of candidates, such as 6 or 2,6,30; got '0'" in str(result.exception)
