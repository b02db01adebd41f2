"""Predictions in the clear give the picture away, whatever is encrypted."""

import dataclasses

import pytest
import torch

from paper_runs import AT_THE_CLOUD, PORTRAIT, paper, run, view
from sfumato.attacks.homomorphic.predictions import Predictions
from sfumato.errors import LacksInput, SpecMismatch
from sfumato.metrics.agreement import correlation
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.plain.spec import Plain
from sfumato.wire.transcript import Transcript

pytest.importorskip("tenseal")
SMALL = {"height": 32, "width": 32, "num_inference_steps": 3}


def near(guess, recorded):
    return correlation(guess.latents.flatten(), recorded.output.images.flatten())


def with_predictions_of(recorded, change):
    """The view with every prediction changed."""
    seen = view(recorded[0], recorded[1])
    (transcript,) = seen.transcripts
    entries = tuple(
        dataclasses.replace(e, tensors=e.tensors | {"prediction": change(e.tensors["prediction"])})
        if e.kind == "HybridLatent"
        else e
        for e in transcript.entries
    )
    return dataclasses.replace(seen, transcripts=(Transcript(entries=entries, is_truncated=False),))


def test_with_everything_encrypted_the_latents_are_found(portraits):
    made = run(portraits, paper(selection="all"), **PORTRAIT)
    guess = Predictions().run(view(made, portraits))
    assert guess.was_hidden.all()
    assert near(guess, made) > 0.9


def test_shuffled_predictions_give_nothing(portraits):
    made = run(portraits, paper(selection="all"), **PORTRAIT)
    order = torch.randperm(4096, generator=torch.Generator().manual_seed(0))
    shuffled = with_predictions_of((made, portraits), lambda p: p.flatten()[order].reshape(p.shape))
    assert abs(near(Predictions().run(shuffled), made)) < 0.1


def test_entries_in_the_clear_help(portraits):
    made = run(portraits, paper(threshold=0.5), **PORTRAIT)
    both = Predictions().run(view(made, portraits))
    alone = Predictions(use_remainder=False).run(view(made, portraits))
    hidden = both.was_hidden
    assert 0 < hidden.float().mean() < 0.5
    assert near(both, made) > near(alone, made)
    public = made.output.images[~hidden]
    assert torch.allclose(both.latents[~hidden], public, atol=2e-2)
    assert not torch.allclose(alone.latents[~hidden], public, atol=2e-2)


@pytest.mark.parametrize("scheduler_steps", [3, 5])
def test_a_cloud_that_denoises_makes_the_last_step_itself(tiny_sd, scheduler_steps):
    made = run(tiny_sd, paper(selection="all", **AT_THE_CLOUD), **SMALL | {"num_inference_steps": scheduler_steps})
    guess = Predictions().run(view(made, tiny_sd))
    # The client's are decrypted, with the errors of the released parameters.
    assert torch.allclose(guess.latents, made.output.images, atol=2e-3)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (Homomorphic(), "of homomorphic with mode=sealed, holds no latents"),
        (Plain(), "of plain, holds no latents"),
    ],
    ids=["sealed", "plain"],
)
def test_other_runs_lack_what_it_works_on(tiny_sd, spec, sentence):
    with pytest.raises(LacksInput, match=sentence):
        Predictions().run(view(run(tiny_sd, spec, **SMALL), tiny_sd))


def test_a_run_that_was_broken_off(tiny_sd):
    seen = view(run(tiny_sd, paper(selection="all"), **SMALL), tiny_sd)
    (transcript,) = seen.transcripts
    cut = dataclasses.replace(transcript, entries=transcript.entries[:-1])
    with pytest.raises(LacksInput, match="no run that was finished"):
        Predictions().run(dataclasses.replace(seen, transcripts=(cut,)))
    fewer = dataclasses.replace(transcript, entries=transcript.entries[:-2])
    with pytest.raises(LacksInput, match="no updates of a known scheduler"):
        Predictions().run(dataclasses.replace(seen, transcripts=(fewer,)))


def test_another_model_is_refused(tiny_sd, portraits):
    made = run(tiny_sd, paper(selection="all"), **SMALL)
    with pytest.raises(SpecMismatch, match="made with another model than 'portraits'"):
        view(made, portraits)
