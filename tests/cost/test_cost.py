"""The dry run counts exactly what a real run's counters show."""

import json
from functools import cache

import pytest
import typer
from typer.testing import CliRunner

from sfumato.client.pipeline import PrivatePipeline
from sfumato.cost.counting import count_cost
from sfumato.cost.link import FIVE_G, Link
from sfumato.cost.speeds import Speeds
from sfumato.errors import Unsupported
from sfumato.models.counting import unet_layers
from sfumato.models.folder import find_architecture
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.simulation import simulate

STEPS = 2


@cache
def counted(name, spec):
    """One count for all tests that look at it."""
    return count_cost(find_architecture(name), spec, FIVE_G)


EVERY_LAYER = frozenset({"conv", "pointwise_conv", "self_attention", "cross_attention", "norm"})
SPECS = {
    "plain": Plain(),
    "plain fp16": Plain(wire_dtype="fp16"),
    "default": LayerSplit(num_clouds=4),
    "every layer, uneven strips": LayerSplit(num_clouds=3, offload=EVERY_LAYER),
    "bf16, prompt at home": LayerSplit(num_clouds=2, wire_dtype="bf16", cross_attention="client"),
    "strips": StripSplit(num_clouds=3),
    "columns of integers": StripSplit(num_clouds=2, num_columns=2, attention="qkv", wire="int8"),
    "halves apart, text away": StripSplit(
        num_clouds=2, attention="hidden", cross_attention="cloud", cfg_clouds="separate", wire="fp32"
    ),
    "clouds that meet": StripSplit(num_clouds=4, borders="direct", wire="int8"),
    "clouds of each half meet": StripSplit(num_clouds=4, borders="direct", cfg_clouds="separate"),
    "clouds that meet, halves side by side": StripSplit(
        num_clouds=3, borders="direct", overlap="halves", stem="clouds", sampler_borders="asked"
    ),
}


def assert_counts_equal(cost, traffic, steps):
    """Bytes of every topic, way and extreme, and rounds, exactly."""
    per_cloud = [traffic.tally(i) for i in range(cost.clouds)]
    assert cost.once.rounds + steps * cost.rounds == traffic.rounds
    between = cost.between.sent_bytes if cost.between else 0
    assert cost.once.between_bytes + steps * between == sum(traffic.between_bytes)
    assert cost.once.sent_bytes + steps * cost.sent_bytes == sum(t.sent_bytes for t in per_cloud)
    assert cost.once.received_bytes + steps * cost.received_bytes == sum(t.received_bytes for t in per_cloud)
    for topic, spent in cost.per_cloud.items():
        tallies = [topics[topic] for topics in traffic.by_topic]
        assert all(t.requests == steps * spent.rounds for t in tallies)
        sent, opening = sum(t.sent_bytes for t in tallies), sum(t["session"].sent_bytes for t in traffic.by_topic)
        if topic == "latent" and sent != steps * spent.up.all_clouds:
            # The first of these also tells the text, which is counted with what is spent once.
            assert sent == steps * spent.up.all_clouds + cost.once.sent_bytes - opening
            continue
        assert spent.up.min == min(t.min_sent_bytes for t in tallies)
        assert spent.up.max == max(t.max_sent_bytes for t in tallies)
        assert spent.up.total * steps == max(t.sent_bytes for t in tallies)
        assert spent.up.all_clouds * steps == sum(t.sent_bytes for t in tallies)
        assert spent.down.min == min(t.min_received_bytes for t in tallies)
        assert spent.down.max == max(t.max_received_bytes for t in tallies)
        assert spent.down.total * steps == max(t.received_bytes for t in tallies)
        assert spent.down.all_clouds * steps == sum(t.received_bytes for t in tallies)


@pytest.mark.parametrize(("name", "guided"), [*((name, True) for name in SPECS), ("plain", False), ("strips", False)])
def test_equals_the_counters_of_a_run_in_process(tiny_sd, name, guided):
    spec = SPECS[name]
    cost = count_cost(tiny_sd, spec, FIVE_G, guided=guided)
    with simulate(tiny_sd, spec, scheduler="ddim") as pipe:
        run = pipe(
            "a red hat", num_inference_steps=STEPS, guidance_scale=5.0 if guided else 1.0, seed=1, output_type="latent"
        )
    assert_counts_equal(cost, run.report.traffic, STEPS)


@pytest.mark.parametrize(
    "spec",
    [LayerSplit(num_clouds=3, offload=EVERY_LAYER), StripSplit(num_clouds=4, num_columns=2, cross_attention="cloud")],
    ids=lambda spec: spec.name,
)
def test_equals_the_counters_of_sdxl_at_another_size(tiny_sdxl, spec):
    cost = count_cost(tiny_sdxl, spec, FIVE_G, height=48, width=80)
    with simulate(tiny_sdxl, spec, scheduler="ddim") as pipe:
        run = pipe("a red hat", num_inference_steps=STEPS, seed=1, height=48, width=80, output_type="latent")
    assert (cost.height, cost.width) == (48, 80)
    assert_counts_equal(cost, run.report.traffic, STEPS)


def test_equals_the_counters_of_a_run_over_the_network(tiny_sd):
    spec = LayerSplit(num_clouds=2)
    cost = count_cost(tiny_sd, spec, FIVE_G)
    with PrivatePipeline.from_pretrained(tiny_sd.path, protocol=spec, scheduler="ddim") as pipe:
        run = pipe("a red hat", num_inference_steps=STEPS, seed=1, output_type="latent")
    assert_counts_equal(cost, run.report.traffic, STEPS)


def test_clouds_that_meet_over_the_network_send_what_was_counted(portraits):
    spec = StripSplit(num_clouds=2, borders="direct")
    cost = count_cost(portraits, spec, FIVE_G)
    with PrivatePipeline.from_pretrained("portraits", protocol=spec, scheduler="ddim") as pipe:
        run = pipe("a red hat", num_inference_steps=STEPS, seed=1, output_type="latent")
    assert_counts_equal(cost, run.report.traffic, STEPS)
    assert cost.between.busiest_cloud_bytes == max(run.report.traffic.between_bytes) // STEPS


PASSES_OF_SD15 = 1606.6e9
"""FLOPs of both guidance halves of the unsplit U-Net at 512 x 512: the yardstick of the client's share."""


def test_strip_split_on_sd15_costs_what_was_worked_out_by_hand():
    every_place = counted("sd15", StripSplit(stem="clouds", sampler_borders="asked"))
    assert every_place.rounds == 68, "67 places and the last wait"
    cost = counted("sd15", StripSplit(num_clouds=4))
    assert cost.rounds == 68 - 3 - 5, "without the stem's three places and five samplers after attention"
    assert cost.sent_bytes / 1e6 == pytest.approx(63.3, abs=0.1)
    assert cost.received_bytes / 1e6 == pytest.approx(52.9, abs=0.1)
    assert round(100 * cost.compute.client_flops / PASSES_OF_SD15, 1) <= 26.8
    # The first projections are computed on both sides.
    assert 1 <= (cost.compute.cloud_flops + cost.compute.client_flops) / PASSES_OF_SD15 < 1.02


def test_clouds_that_meet_leave_the_client_attention_alone():
    cost = counted("sd15", StripSplit(num_clouds=4, borders="direct", wire="int8"))
    assert cost.rounds == 16, "a beginning that brings the first attention, and 15 more"
    assert cost.between.exchanges == 67 - 16 - 2 - 5, "all other places but the stem's two and the samplers ahead"
    assert cost.sent_bytes / 1e6 == pytest.approx(26.1, abs=0.1)
    apart = counted("sd15", StripSplit(num_clouds=4, wire="int8"))
    assert cost.compute.client_flops == apart.compute.client_flops
    assert cost.compute.cloud_flops == apart.compute.cloud_flops


def test_strip_split_of_products_asks_less_of_the_client_and_more_of_the_link():
    fused, products = (counted("sd15", StripSplit(num_clouds=4, attention=a)) for a in ("fused", "qkv"))
    assert round(100 * products.compute.client_flops / PASSES_OF_SD15, 1) <= 15.7
    assert products.rounds == 68 + 2 * 16
    assert products.compute.client_weight_bytes < fused.compute.client_weight_bytes
    assert products.sent_bytes > fused.sent_bytes


def test_flops_of_both_sides_are_those_of_the_layers():
    model, spec = find_architecture("tiny-sd"), LayerSplit(num_clouds=4)
    layers = unet_layers(model, (1, 4, 32, 32), 2, 77)
    plain, split = counted("tiny-sd", Plain()), counted("tiny-sd", spec)
    assert plain.compute.client_flops == 0
    assert plain.compute.cloud_flops == sum(layer.flops for layer in layers)
    stays = [layer.flops for layer in layers if layer.kind not in spec.effective_offload]
    assert split.compute.client_flops == sum(stays)
    # Strips meet without overlap in their outputs, so cutting adds no work.
    assert split.compute.cloud_flops == plain.compute.cloud_flops - sum(stays)


def test_the_client_holds_what_its_half_keeps():
    plain, split = counted("tiny-sd", Plain()), counted("tiny-sd", LayerSplit(num_clouds=4))
    ours = 4 * (plain.parameters.text_encoder + plain.parameters.vae_decoder)
    assert plain.compute.client_weight_bytes == ours
    assert ours < split.compute.client_weight_bytes < ours + 4 * plain.parameters.unet


def test_seconds_follow_the_link_model():
    model = find_architecture("tiny-sd")
    still = count_cost(model, Plain(), Link(up_mbit=8, down_mbit=8, rtt_milliseconds=0))
    far = count_cost(
        model, LayerSplit(offload=frozenset({"norm"})), Link(up_mbit=1e9, down_mbit=1e9, rtt_milliseconds=100)
    )
    assert still.seconds_per_step == pytest.approx((still.sent_bytes + still.received_bytes) / 1e6)
    assert far.seconds_per_step == pytest.approx(0.1 * far.rounds, rel=1e-3)


def test_seconds_of_computing_are_those_of_the_client_and_of_the_busiest_cloud():
    link = Link(up_mbit=8, down_mbit=80, rtt_milliseconds=10)
    spec = StripSplit(num_clouds=3)  # 16 rows of the deepest maps do not divide by three
    free = count_cost(find_architecture("tiny-sd"), spec, link)
    cost = count_cost(find_architecture("tiny-sd"), spec, link, speeds=Speeds(client_gflops=2, cloud_gflops=0.5))
    parts = cost.step_seconds
    assert (free.step_seconds.client, free.step_seconds.clouds) == (None, None)
    assert parts.latency == pytest.approx(0.01 * cost.rounds)
    assert (parts.up, parts.down) == pytest.approx((cost.sent_bytes / 1e6, cost.received_bytes / 1e7))
    assert parts.client == pytest.approx(cost.compute.client_flops / 2e9)
    assert parts.clouds == pytest.approx(cost.compute.busiest_cloud_flops / 0.5e9)
    assert cost.compute.cloud_flops / 3 < cost.compute.busiest_cloud_flops < cost.compute.cloud_flops / 2
    assert cost.seconds_per_step == pytest.approx(free.seconds_per_step + parts.client + parts.clouds)
    assert cost.once.client_seconds == pytest.approx(
        (cost.compute.text_encoder_flops + cost.compute.vae_decoder_flops) / 2e9
    )


def test_one_cloud_is_its_own_busiest():
    compute = counted("tiny-sd", Plain()).compute
    assert compute.busiest_cloud_flops == compute.cloud_flops


def test_sizes_that_do_not_fit_are_refused():
    model = find_architecture("tiny-sd")
    with pytest.raises(ValueError, match="multiples of 2, got 33 and 64"):
        count_cost(model, Plain(), FIVE_G, height=33)
    with pytest.raises(ValueError, match="num_clouds must be at most 8"):
        count_cost(model, LayerSplit(num_clouds=9), FIVE_G)


CONTRACT = {
    "model",
    "protocol",
    "spec",
    "clouds",
    "rounds",
    "seconds_per_step",
    "parameters",
    "per_cloud",
    "totals",
    "compute",
}


def run_cost(*arguments):
    from sfumato.cli.cost import cost

    app = typer.Typer()
    app.command()(cost)
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_json_keeps_its_contract():
    result = run_cost("--model", "tiny-sd", "--clouds", "2", "--format", "json")
    found = json.loads(result.stdout)
    assert set(found) >= CONTRACT
    assert found["clouds"] == found["spec"]["num_clouds"] == 2
    assert set(found["parameters"]) == {"text_encoder", "vae_decoder", "unet", "conv", "attention"}
    assert set(found["totals"]) == {"sent_bytes", "received_bytes"}
    assert {"client_flops", "cloud_flops", "client_weight_bytes", "busiest_cloud_flops"} <= set(found["compute"])
    assert set(found["step_seconds"]) == {"latency", "up", "down", "client", "clouds", "between", "overlapped"}
    assert found["speeds"] == {"client_gflops": None, "cloud_gflops": None}
    assert "computing time of client and cloud is not modelled" in found["notes"][-1]
    for spent in found["per_cloud"].values():
        assert {"min", "max", "total"} <= set(spent["up"]) & set(spent["down"])
    assert found["totals"]["sent_bytes"] == sum(t["up"]["all_clouds"] for t in found["per_cloud"].values())


def test_several_numbers_of_clouds_give_a_list():
    result = run_cost("--model", "sd15", "--clouds", "2,4,8", "--as-published", "--format", "json")
    assert [(c["clouds"], c["published"]["tables"]["VIII"]["up"]["total"]) for c in json.loads(result.stdout)] == [
        (2, 85.23),
        (4, 47.03),
        (8, 27.92),
    ]


def test_settings_reach_the_spec():
    arguments = ("--protocol", "layer-split", "--set", "cross_attention=client", "--set", "wire_dtype=fp16")
    found = json.loads(run_cost("--model", "tiny-sd", *arguments, "--format", "json").stdout)
    assert found["spec"]["wire_dtype"] == "fp16"
    assert "cross_attention" not in found["per_cloud"]


def test_the_table_shows_layers_totals_and_the_model_of_time():
    arguments = ("--protocol", "layer-split", "--clouds", "2", "--set", "offload=conv,norm")
    shown = run_cost("--model", "tiny-sd", *arguments).stdout
    for text in ("tiny-sd, 64 x 64, layer-split, 2 clouds", "conv", "norm", "total", "once a run", "computing time"):
        assert text in shown


def test_speeds_reach_the_seconds_and_the_stated_model():
    arguments = ("--model", "tiny-sd", "--clouds", "2", "--client-gflops", "1", "--format", "json")
    found = json.loads(run_cost(*arguments).stdout)
    assert found["step_seconds"]["client"] == pytest.approx(found["compute"]["client_flops"] / 1e9)
    assert found["seconds_per_step"] == pytest.approx(sum(s for s in found["step_seconds"].values() if s))
    assert "the client's FLOPs at its speed" in found["notes"][-1]
    assert "computing time of cloud is not modelled" in found["notes"][-1]


@pytest.mark.parametrize("given", ["0", "-1", "inf", "nan"])
def test_speeds_that_are_none(given):
    with pytest.raises(ValueError, match="--cloud-gflops must be a positive number of GFLOP a second, got"):
        run_cost("--model", "tiny-sd", f"--cloud-gflops={given}")


def test_the_paper_models_no_computing():
    with pytest.raises(ValueError, match="leave out --as-published, --client-gflops or --cloud-gflops"):
        run_cost("--model", "sd15", "--as-published", "--client-gflops", "1")


@pytest.mark.parametrize("clouds", ["0", "two", "2,,4", "-1", ""])
def test_wrong_numbers_of_clouds(clouds):
    with pytest.raises(ValueError, match="--clouds takes one or more numbers"):
        run_cost("--model", "tiny-sd", f"--clouds={clouds}")


def test_ciphertexts_cannot_be_counted_without_computing():
    with pytest.raises(Unsupported, match="homomorphic has no denoising step that can be counted without computing"):
        counted("sd15", Homomorphic())
