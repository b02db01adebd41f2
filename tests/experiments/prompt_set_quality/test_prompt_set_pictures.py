"""The study's savings: its pictures are those of the whole protocol."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.test_running import ThisProcess, console
from prompt_set_runs import assert_close
from sfumato.experiments.prompt_set_quality.device_side import PortraitRow
from sfumato.experiments.prompt_set_quality.portrait_prompts import portrait_prompts
from sfumato.experiments.prompt_set_quality.running import run_device, run_server
from sfumato.experiments.prompt_set_quality.server_side import own_latents, run_set
from sfumato.experiments.prompt_set_quality.study import Study
from sfumato.experiments.prompt_set_quality.ways import DEVICE_ONLY, SERVER_ONLY, Way
from sfumato.experiments.rows import RowStore, from_png
from sfumato.models.random_folder import write_random_model
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.prompt_set.candidates import candidate_set
from sfumato.simulation import simulate

SETTING = "3-1-2"
PLAIN, CACHE, REUSE = (Way(kind=kind, setting=SETTING) for kind in ("prompt-set", "+ cache", "+ reuse"))


@pytest.fixture(scope="module")
def study(tiny_sd) -> Study:
    return Study(
        model=str(tiny_sd.path),
        model_fingerprint=tiny_sd.unet_fingerprint,
        height=32,
        width=32,
        settings=(SETTING,),
        num_inference_steps=4,
    )


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    return write_random_model("tiny-sd", tmp_path_factory.mktemp("device") / "tiny-device", seed=9)


@pytest.fixture(scope="module")
def prompts():
    """One that is not the pivot of its six, and one that is."""
    found = portrait_prompts(6, 12)
    indices = [candidate_set(p.text).index for p in found]
    return (found[indices.index(max(indices))], found[indices.index(0)])


@pytest.mark.parametrize("way", [PLAIN, CACHE, REUSE], ids=lambda way: way.kind)
def test_a_candidate_needs_itself_and_with_map_reuse_the_pivot(study, prompts, way):
    for prompt in prompts:
        own = candidate_set(prompt.text)
        whole = run_set(study, way, prompt, own.prompts)
        assert_close(own_latents(study, way, prompt, own), whole[[own.index]])


def test_with_map_reuse_the_pivot_matters(study, prompts):
    own = candidate_set(prompts[0].text)
    alone, whole = run_set(study, REUSE, prompts[0], [own.own]), run_set(study, REUSE, prompts[0], own.prompts)
    assert (alone - whole[[own.index]]).abs().max() > 1e-4


@pytest.fixture(scope="module")
def pictures(study, device, prompts, tmp_path_factory):
    """What the study paints, by way and prompt."""
    out = tmp_path_factory.mktemp("study")
    assert run_server(study, prompts, out, ThisProcess(), console()) == 2
    assert run_device(study, prompts, device, out, ThisProcess(), console()) == 2
    rows = RowStore(out / "rows", PortraitRow).read()
    return {(way, p): from_png(png) for way, p, png in rows.select("way", "prompt_index", "picture").iter_rows()}


def whole_run(study, prompt, spec, model, device=None):
    """One picture of the pipeline that users call."""
    pipe = simulate(model, spec, device_model=device and device.path)
    return pipe(prompt.text, seed=prompt.seed, num_inference_steps=4, height=32, width=32, output_type="np").images[0]


def assert_same_picture(found, wanted):
    """But for what rounding the first noise, and the sizes of batches, make of a byte."""
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 2


@pytest.mark.parametrize("way", [PLAIN, CACHE, REUSE], ids=lambda way: way.kind)
def test_pictures_are_those_of_the_protocol(study, tiny_sd, device, prompts, pictures, way):
    spec = replace(way.spec, max_candidates=6)
    for prompt in prompts:
        assert_same_picture(pictures[way.name, prompt.index], whole_run(study, prompt, spec, tiny_sd, device))


def test_one_model_alone_paints_as_the_pipeline_does(study, tiny_sd, device, prompts, pictures):
    for way, model in ((SERVER_ONLY, tiny_sd), (DEVICE_ONLY, device)):
        for prompt in prompts:
            assert_same_picture(pictures[way.name, prompt.index], whole_run(study, prompt, Plain(), model))


def test_ways_differ(pictures, prompts):
    kinds = [way.name for way in (SERVER_ONLY, DEVICE_ONLY, PLAIN, CACHE, REUSE)]
    seen = [torch.from_numpy(pictures[name, prompts[0].index].copy()) for name in kinds]
    assert all(not torch.equal(one, other) for i, one in enumerate(seen) for other in seen[:i])
