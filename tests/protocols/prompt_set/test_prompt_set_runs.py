"""Whole runs of prompt-set: what they paint, and what they refuse."""

import json
import re
from dataclasses import replace

import pytest
import torch

from prompt_set_runs import ListeningCloud, assert_close
from recorded import in_process, served
from sfumato.client.private import private_of
from sfumato.errors import ModelError, SfumatoError, WireError, WorkerError
from sfumato.models.folder import find_model
from sfumato.models.random_folder import write_random_model
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.prompt_set.spec import CandidateLatents, Candidates, PromptSet
from sfumato.protocols.prompt_set.worker import PromptSetWorker
from sfumato.worker.catalog import worker_half

EXACT = PromptSet(server_steps="2-2-2", reuse_maps=False, wire_dtype="fp32", on_no_attribute="plain")
SMALL = {"height": 32, "width": 32, "num_inference_steps": 4, "seed": 3, "output_type": "latent"}


def latents(pipe, prompt="an old man", **arguments):
    return pipe(prompt, **SMALL | arguments).images


# What they paint: with the same model on both sides, and the taxonomy's own words, what plain paints.


@pytest.mark.parametrize("model", ["tiny_sd", "tiny_sdxl"])
@pytest.mark.parametrize("scheduler", ["ddim", "lcm"])
def test_with_one_model_on_both_sides_the_picture_is_that_of_plain(request, model, scheduler):
    folder = request.getfixturevalue(model)
    plain = latents(in_process(folder, Plain(), scheduler), negative_prompt="blurred")
    assert plain.isfinite().all()
    split = latents(in_process(folder, EXACT, scheduler), negative_prompt="blurred")
    if scheduler == "ddim":
        assert_close(split, plain)
    else:
        # LCM draws new noise on the way, and the two sides draw their own.
        assert split.shape == plain.shape
        assert torch.equal(split, latents(in_process(folder, EXACT, scheduler), negative_prompt="blurred"))


def test_shipped_history_makes_dpm_solver_exact_and_a_restart_does_not(tiny_sd):
    plain = latents(in_process(tiny_sd, Plain(), "dpm++"))
    assert_close(latents(in_process(tiny_sd, replace(EXACT, handoff="ship-history"), "dpm++")), plain)
    restarted = latents(in_process(tiny_sd, EXACT, "dpm++"))
    assert (restarted - plain).abs().max() > 1e-4
    assert_close(restarted, plain, tolerance=0.5)


def test_without_guidance_and_without_a_negative_prompt(tiny_sdxl):
    for settings in ({"guidance_scale": 1.0}, {}, {"negative_prompt": ""}):
        assert_close(
            latents(in_process(tiny_sdxl, EXACT), **settings), latents(in_process(tiny_sdxl, Plain()), **settings)
        )


def test_the_device_finishes_with_the_users_own_wording(tiny_sd):
    pipe = in_process(tiny_sd, EXACT)
    listed, own = latents(pipe, "a young woman"), latents(pipe, "a 20-year-old woman")
    # The same server steps, and another text afterwards.
    assert not torch.equal(listed, own)


def test_the_server_may_use_another_scheduler_and_number_of_steps(tiny_sd):
    spec = replace(EXACT, server_scheduler="lcm", server_inference_steps=8, server_steps="4-4-4")
    seen = []
    pipe = in_process(tiny_sd, spec, "dpm++")

    def watch(_, index, *__):
        seen.append(index)
        return {}

    pipe("an old man", **SMALL | {"num_inference_steps": 25}, callback_on_step_end=watch)
    # Step 12 in SDXL's own spacing of the steps.
    assert seen == list(range(13, 25))


def test_what_the_report_says(tiny_sd):
    report = in_process(tiny_sd, EXACT)("an old man in Paris", **SMALL).report
    (preview,) = report.to_dict()["candidate_sets"]
    assert report.to_dict()["device_model"] == tiny_sd.name
    assert preview["candidates"][preview["index"]] == "an old man in Paris"
    assert len(preview["candidates"]) == 6
    assert "Paris" in [n["words"] for n in preview["not_covered"]]
    assert report.not_hidden[0].startswith("6 candidates, as hard to guess as")
    (plain,) = in_process(tiny_sd, EXACT)("a bowl", **SMALL).report.to_dict()["candidate_sets"]
    assert plain["candidates"] == ["a bowl"]


# What they refuse, before any cloud is contacted.


def refused(tiny_sd, spec=EXACT, scheduler="ddim", prompt="an old man", private=None, **arguments) -> str:
    cloud = ListeningCloud(tiny_sd, spec)
    pipe = in_process(tiny_sd, spec, scheduler, clouds=cloud)
    if private:
        own = private_of(spec, tiny_sd, private)
        pipe = type(pipe)(tiny_sd, spec, cloud, torch_dtype=torch.float32, scheduler=scheduler, private=own)
    with pytest.raises((ValueError, SfumatoError)) as error:
        latents(pipe, prompt, **arguments)
    assert not cloud.sizes
    return str(error.value)


@pytest.mark.parametrize(
    ("change", "prompt", "sentence"),
    [
        ({"on_no_attribute": "refuse"}, "a bowl of fruit", "names no attribute"),
        ({}, "  ", "the prompt is empty"),
        ({}, "a young old man", "age"),
        ({"max_candidates": 5}, "an old man", "6"),
        ({"server_steps": "4-4-4"}, "an old man", "must be fewer than its schedule's"),
        ({"server_inference_steps": 2}, "an old man", "must be fewer than its schedule's"),
        (
            {"handoff": "ship-history"},
            "an old man",
            "ship-history needs .* on both sides, got ddim",
        ),
    ],
    ids=str,
)
def test_a_call_that_cannot_be_made_is_refused_first(tiny_sd, change, prompt, sentence):
    assert re.search(sentence, refused(tiny_sd, replace(EXACT, **change), prompt=prompt))


@pytest.fixture(scope="module")
def another(tiny_sd, tmp_path_factory):
    """The tiny model with one file changed."""

    def change(component: str, **values):
        folder = tmp_path_factory.mktemp("device") / "device"
        write_random_model("tiny-sd", folder, seed=1)
        file = folder / component / ("scheduler_config.json" if component == "scheduler" else "config.json")
        file.write_text(json.dumps(json.loads(file.read_text()) | values))
        return folder

    return change


def test_a_device_model_that_does_not_fit_is_refused_first(tiny_sd, another):
    begins = "the client's model cannot go on from the server's latents: "
    assert refused(tiny_sd, private=another("scheduler", beta_end=0.02)) == begins + "their noise schedules differ"
    assert "the server's model predicts epsilon, the client's v_prediction" in refused(
        tiny_sd, private=another("scheduler", prediction_type="v_prediction")
    )
    assert "their latent spaces differ: the server's scaling factor is" in refused(
        tiny_sd, private=another("vae", scaling_factor=0.3)
    )


def test_a_device_model_must_be_known_and_wanted(tiny_sd):
    with pytest.raises(ValueError, match=r"finishes pictures with a small model .* none is known for 'tiny-sd'"):
        private_of(EXACT, tiny_sd)
    with pytest.raises(ValueError, match="plain has no use for a device model or a taxonomy: only prompt-set has"):
        private_of(Plain(), tiny_sd, "portraits", "mine.toml")
    with pytest.raises(ModelError, match="no model 'nowhere'"):
        private_of(EXACT, tiny_sd, "nowhere")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_clouds": 2}, "num_clouds must be 1, got 2"),
        ({"server_steps": "10"}, "server_steps must be three numbers k-r-s, such as 10-4-6, got '10'"),
        ({"server_steps": "5-6-7"}, "server_steps=5-6-7: .*must not exceed"),
        ({"server_steps": "0-0-0"}, "num_steps .k. must be at least 1"),
        ({"refresh_every": -1}, "refresh_every must be at least 0"),
        ({"server_inference_steps": -1}, "server_inference_steps must be at least 0"),
        ({"max_candidates": 1}, "max_candidates must be 2 to 1024, got 1"),
        ({"max_candidates": 5000}, "max_candidates must be 2 to 1024, got 5000"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_told_by_name(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        PromptSet(**values)


# What a cloud may not answer.


def rows(change):
    def spoil(values):
        values["latents"] = change(values["latents"])

    return spoil


def with_nan(latents):
    spoilt = latents.clone()
    spoilt[-1, 0, 0, 0] = float("nan")
    return spoilt


@pytest.mark.parametrize(
    ("spoil", "error", "sentence"),
    [
        (rows(lambda t: t[:-1]), WireError, "answered the candidates' latents with 5x4x16x16 .* where 6x4x16x16"),
        (rows(lambda t: t[:, :, :-1]), WireError, "answered the candidates' latents with 6x4x15x16"),
        (rows(lambda t: t.double()), WireError, "answered the candidates' latents with .* float64"),
        (rows(with_nan), WorkerError, "answered the candidates' latents with numbers that are not finite"),
        (lambda v: v.update(sigma=1.0), WireError, "latents of another noise level or schedule"),
        (lambda v: v.update(sigma=float("nan")), WireError, "latents of another noise level or schedule"),
        (lambda v: v.update(schedule_hash="x"), WireError, "latents of another noise level or schedule"),
        (lambda v: v.update(previous=v["latents"]), WireError, "shipped a previous output with handoff=restart"),
    ],
    ids=["number", "shape", "format", "nan", "level", "no level", "schedule", "history"],
)
def test_a_spoilt_answer_ends_the_run(tiny_sd, spoil, error, sentence):
    with pytest.raises(error, match=f"cloud-1 {sentence}" if sentence.startswith(("a", "s")) else sentence):
        latents(in_process(tiny_sd, EXACT, clouds=ListeningCloud(tiny_sd, EXACT, spoil)))


def test_history_that_does_not_come_or_is_not_of_an_earlier_step_ends_the_run(tiny_sd):
    spec = replace(EXACT, handoff="ship-history")
    with pytest.raises(WireError, match="cloud-1 shipped no previous output with handoff=ship-history"):
        latents(in_process(tiny_sd, spec, "dpm++", clouds=ListeningCloud(tiny_sd, spec)))
    late = ListeningCloud(tiny_sd, spec, lambda v: v.update(previous=v["latents"], previous_sigma=v["sigma"]))
    with pytest.raises(WireError, match="cloud-1 answered with latents of another noise level"):
        latents(in_process(tiny_sd, spec, "dpm++", clouds=late))


# What a cloud may not be asked.


def asked(**changes) -> Candidates:
    values = {
        "prompts": ("a man", "a woman"),
        "negative": "",
        "has_negative": False,
        "is_guided": True,
        "guidance_scale": 5.0,
        "scheduler": "ddim",
        "num_inference_steps": 4,
        "height": 32,
        "width": 32,
        "seed": 1,
        "noise": torch.zeros(1, 4, 8, 8),
    }
    return Candidates(**values | changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompts": ()}, "0 candidates came where 1 to 32 were agreed on"),
        ({"prompts": ("a man",) * 33}, "33 candidates came"),
        ({"noise": torch.zeros(2, 4, 8, 8)}, "one row of 4 channels was due"),
        ({"noise": torch.zeros(1, 3, 8, 8)}, "one row of 4 channels was due"),
        ({"seed": -1}, "other values came"),
        ({"num_inference_steps": 10**6}, "other values came"),
        ({"num_inference_steps": 2}, "must be fewer"),
        ({"scheduler": "heun"}, "no scheduler 'heun'"),
    ],
    ids=str,
)
def test_a_cloud_refuses_what_does_not_fit(tiny_sd, changes, sentence):
    half = worker_half(EXACT, served(tiny_sd).unet, 0, tiny_sd)
    with pytest.raises((WireError, ValueError), match=sentence):
        half.handle(asked(**changes))


def test_a_cloud_answers_a_row_a_candidate(tiny_sd):
    reply = worker_half(EXACT, served(tiny_sd).unet, 0, tiny_sd).handle(asked())
    assert isinstance(reply, CandidateLatents)
    assert reply.latents.shape == (2, 4, 8, 8)
    assert not torch.equal(reply.latents[0], reply.latents[1])


def test_a_cloud_without_a_text_encoder_says_so(tiny_sd):
    with pytest.raises(ModelError, match="serves a U-Net alone: prompt-set needs the whole model folder"):
        PromptSetWorker(EXACT, served(tiny_sd).unet, None)


def test_the_bundled_pair_fits(portraits):
    private = private_of(PromptSet(), portraits)
    assert private.device_model == find_model("portraits-device")
