"""What an attacker learns from its own runs in the clear is what it would learn from runs of the protocol."""

import pytest
import torch

from sfumato.attacks.learned.lessons import features_at
from sfumato.audit.made_runs import OwnRuns, RunMaker, view_of
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.wire.selection import keep_all

LAYER = "mid_block.resnets.1.norm1"


@pytest.mark.parametrize("spec", [LayerSplit(num_clouds=2), StripSplit(num_clouds=2)], ids=lambda spec: spec.name)
def test_runs_in_the_clear_stand_for_runs_of_the_protocol(tiny_sd, spec):
    maker = RunMaker(model=tiny_sd, spec=spec, num_inference_steps=2, batch_size=1)
    own = [features_at(run.view, LAYER, -1) for run in OwnRuns(maker=maker, clouds=(1,)).runs(3, keep_all)]
    assert own[0].window != own[1].window
    for number, (recording, truth) in enumerate(maker.rehearsals(3, keep_all)):
        true = features_at(view_of(recording, maker, (1,), truth.pictures.shape[:3]), LAYER, -1)
        found = own[number].within(true.window)
        assert (found.values - true.values).norm() < 0.02 * true.values.norm()
        assert found.values.shape == true.values.shape


@pytest.mark.parametrize(
    "spec",
    [LayerSplit(merge="paper"), LayerSplit(wire_dtype="fp16"), StripSplit(wire="int8"), StripSplit(attention_every=2)],
)
def test_lossy_settings_are_rehearsed_themselves(tiny_sd, spec):
    assert RunMaker(model=tiny_sd, spec=spec).in_the_clear is None


def test_people_left_out_at_the_beginning_change_no_others(tiny_sd):
    maker = RunMaker(model=tiny_sd, spec=StripSplit(num_clouds=2), num_inference_steps=2, batch_size=1)
    (_, second) = (truth for _, truth in maker.rehearsals(2, keep_all))
    ((_, alone),) = maker.rehearsals(2, keep_all, start=1)
    assert alone.prompts == second.prompts
    assert torch.equal(alone.latents, second.latents)
