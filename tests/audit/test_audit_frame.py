"""An audit from runs to lines: on a run in the clear it finds the picture, on noise it finds nothing."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from sfumato.attacks.base import Attack
from sfumato.attacks.guesses import AttributeGuess, LatentGuess
from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.view import RunView
from sfumato.audit.judging import Known, judge
from sfumato.audit.leakage import Verdict
from sfumato.audit.made_runs import RunMaker, Truth, people
from sfumato.audit.noise import noise_instead
from sfumato.audit.plan import Plan, coalitions, plan_of, setting_name
from sfumato.audit.running import Runs, pieces, run_piece
from sfumato.audit.store import Store
from sfumato.audit.tables import lines
from sfumato.errors import LacksInput
from sfumato.models.folder import ModelFolder
from sfumato.portraits import VALUES
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.transport.recording import Recording
from sfumato.wire.selection import keep_all, keep_none
from sfumato.wire.transcript import Direction, Entry, Transcript


@dataclass(frozen=True, kw_only=True)
class LastLatent(Attack):
    """What the U-Net read last."""

    name: ClassVar[str] = "last-latent"
    needs: ClassVar[str] = "latents"

    def run(self, view: RunView) -> LatentGuess:
        return LatentGuess(latents=reader_of(view).latents(view)[-1].values, finding="the last latent")

    def prior(self, view: RunView) -> LatentGuess:
        return LatentGuess(latents=torch.zeros(view.known_settings().num_pictures, 4, 32, 32), finding="nothing")


def _audit(plan: Plan, model: ModelFolder, out: Path) -> int:
    runs, store = Runs(model=model, num_inference_steps=4, batch_size=3), Store.of(out)
    return sum(run_piece(plan, runs, piece, store, lambda *_: None) for piece in pieces(plan, runs.batch_size))


@pytest.fixture(scope="module")
def audited(portraits: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    out = tmp_path_factory.mktemp("audit")
    plan = plan_of([Plain(), Homomorphic()], [LastLatent()], num_secrets=6)
    assert _audit(plan, portraits, out) == 6
    return plan, out


def test_a_run_in_the_clear_leaks_the_picture(audited):
    (found,) = [line for line in lines(Store.of(audited[1]).rows.read()) if line.metric == "psnr"]
    assert found.setting == "plain"
    assert found.verdict is Verdict.LEAKS
    assert found.row.num_secrets == 6
    assert found.on_noise is not None
    assert not found.on_noise.is_found
    assert found.in_the_clear == found.row


def test_what_a_protocol_does_not_show_is_said(audited):
    lacks = Store.of(audited[1]).lacks.read()
    assert set(lacks["setting"]) == {setting_name(Homomorphic())}
    assert all("not shown" in reason for reason in lacks["reason"])


def test_a_second_run_has_nothing_to_do(audited, portraits):
    assert _audit(audited[0], portraits, audited[1]) == 0


def test_pictures_are_kept_to_look_at(audited):
    panels = Store.of(audited[1]).panels.read()
    assert set(panels["number"]) == {0, 1, 2}
    assert all(png.startswith(b"\x89PNG") for name in ("truth", "prior_only", "guess") for png in panels[name])


def test_rows_without_a_working_control_are_inconclusive(audited):
    rows = Store.of(audited[1]).rows.read()
    assert {line.verdict for line in lines(rows.filter(~rows["is_control"]))} == {Verdict.INCONCLUSIVE}


def test_victims_and_the_attackers_own_people_differ(portraits):
    maker = RunMaker(model=portraits, spec=Plain(), num_inference_steps=2)
    ((_, victim),) = maker.victims(2, keep_none)
    ((_, own),) = maker.rehearsals(2, keep_none)
    assert not set(victim.prompts) & set(own.prompts)
    ((_, again),) = maker.victims(2, keep_none)
    assert torch.equal(victim.latents, again.latents)


def test_a_picture_does_not_depend_on_what_is_kept(portraits):
    maker = RunMaker(model=portraits, spec=LayerSplit(num_clouds=2), num_inference_steps=2)
    ((light, a),) = maker.victims(1, keep_none)
    ((full, b),) = maker.victims(1, lambda kind, values: values.get("path") == "conv_in")
    assert torch.equal(a.latents, b.latents)
    for name in light.transcripts:
        pairs = list(zip(light.transcripts[name].entries, full.transcripts[name].entries, strict=True))
        assert all(a.size_bytes == b.size_bytes and a.values == b.values for a, b in pairs)
        assert all(tensor is None for entry, _ in pairs for tensor in entry.tensors.values())
        assert sum(entry.tensors.get("rows") is not None for _, entry in pairs) == 2


def test_noise_keeps_shapes_and_nothing_else(portraits):
    maker = RunMaker(model=portraits, spec=Plain(), num_inference_steps=2)
    ((recording, _),) = maker.victims(2, keep_all)
    for name, told in noise_instead(recording).transcripts.items():
        for entry, real in zip(told.entries, recording.transcripts[name].entries, strict=True):
            assert entry.size_bytes == real.size_bytes
            for field, tensor in entry.tensors.items():
                was = real.tensors[field]
                assert (tensor is None) == (was is None)
                if tensor is not None and was is not None:
                    assert tensor.shape == was.shape
                    assert tensor.dtype == was.dtype
                    assert not torch.equal(tensor, was)


def test_texts_become_letters():
    entry = Entry(
        direction=Direction.TO_CLOUD,
        seconds=0.0,
        size_bytes=9,
        kind="Candidates",
        values={"prompts": ["an old man", "a woman"], "scheduler": "ddim", "steps": [1, 2]},
        tensors={},
    )
    told = Recording(meta={}, transcripts={"cloud-1": Transcript(entries=(entry,), is_truncated=False)})
    (noisy,) = noise_instead(told).transcripts["cloud-1"].entries
    assert [len(text) for text in noisy.values["prompts"]] == [10, 7]
    assert "an old man" not in noisy.values["prompts"]
    assert noisy.values["scheduler"] == "ddim"
    assert noisy.values["steps"] == [1, 2]


def test_places_become_other_places_in_order():
    places = torch.tensor([3, 17, 40, 999])
    entry = Entry(
        direction=Direction.TO_CLOUD, seconds=0, size_bytes=9, kind="HybridLatent", values={}, tensors={"at": places}
    )
    told = Recording(meta={}, transcripts={"cloud-1": Transcript(entries=(entry,), is_truncated=False)})
    found = noise_instead(told).transcripts["cloud-1"].entries[0].tensors["at"]
    assert bool((found.diff() > 0).all())
    assert found.shape == places.shape
    assert not torch.equal(found, places)


def test_attributes_that_a_prompt_does_not_name_are_not_judged(portraits):
    truth = Truth(
        prompts=("an old man",),
        attributes=({"gender": "man", "age": "old"},),
        latents=torch.zeros(1, 4, 32, 32),
        pictures=np.zeros((1, 128, 128, 3), dtype=np.uint8),
    )
    rows = {name: np.eye(len(values))[:1] for name, values in VALUES.items()}
    known = Known(truth=truth, model=portraits, candidates=None, outside=None)
    found = judge(AttributeGuess(probabilities=rows, finding=""), known)
    assert {name: float(values[0]) for name, values in found.items()} == {
        "gender": float(VALUES["gender"][0] == "man"),
        "age": float(VALUES["age"][0] == "old"),
        "all attributes": 0.0,
    }
    unnamed = dataclasses.replace(known, truth=dataclasses.replace(truth, attributes=({},)))
    assert judge(AttributeGuess(probabilities=rows, finding=""), unnamed) == {}


def test_people_are_numbered():
    assert people(3, 4)[2] == people(5, 1)[0]
    assert all(f"{person.attributes['clothing']} " in person.prompt for person in people(0, 20))


def test_coalitions_are_spread():
    assert coalitions(4, 2) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert coalitions(8, 1, 2) == [(0,), (7,)]


def test_a_setting_is_named_by_what_differs():
    assert setting_name(Plain()) == "plain"
    assert setting_name(LayerSplit(num_clouds=2, cross_attention="client")) == (
        "layer-split cross_attention=client num_clouds=2"
    )


def test_an_attack_without_means_says_what_it_needs(portraits):
    view = RunView(spec=Plain(), model=portraits, transcripts=())
    with pytest.raises(LacksInput, match="steps, scheduler and guidance"):
        view.known_settings()
    with pytest.raises(LacksInput, match="sfumato audit"):
        view.known_rehearsal()
