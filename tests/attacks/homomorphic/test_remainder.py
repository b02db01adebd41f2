"""Entries in the clear tell the encrypted ones, the more the fewer these are."""

import dataclasses

import pytest
import torch

from paper_runs import PORTRAIT, paper, run, view
from sfumato.attacks.homomorphic.paper_steps import paper_steps
from sfumato.attacks.homomorphic.remainder import Remainder
from sfumato.attacks.homomorphic.stationary import StationaryPrior
from sfumato.attacks.own_latents import own_latents
from sfumato.errors import LacksInput
from sfumato.metrics.agreement import correlation
from sfumato.wire.transcript import Transcript

pytest.importorskip("tenseal")
SAMPLES = 6


@pytest.fixture(scope="module")
def portrait_latents(portraits):
    """The attacker's own pictures, which the attacks of these tests find again in the cache."""
    return own_latents(portraits, (32, 32), SAMPLES)


def hidden_correlation(guess, recorded):
    return correlation(guess.latents[guess.was_hidden], recorded.output.images[guess.was_hidden])


def test_more_in_the_clear_tells_more(portraits, portrait_latents):
    attack = Remainder(samples=SAMPLES)
    found = []
    for threshold in (0.01, 0.1, 0.5):
        made = run(portraits, paper(threshold=threshold), **PORTRAIT)
        seen = view(made, portraits)
        found.append(hidden_correlation(attack.run(seen), made))
        assert hidden_correlation(attack.prior(seen), made) < found[-1]
    assert found == sorted(found)
    assert found[-1] > 0.8


def test_entries_of_another_run_tell_nothing(portraits, portrait_latents):
    """Control: the places of this run, the values of another, less the mean that both share."""
    made = run(portraits, paper(threshold=0.1), **PORTRAIT)
    other = run(portraits, paper(threshold=0.1), **PORTRAIT | {"prompt": "a girl with black hair, in a forest"}, seed=4)
    seen, last = view(made, portraits), paper_steps(view(made, portraits))[-1]
    (transcript,) = seen.transcripts
    strange = other.output.images[~last.hidden.mask()]
    entry = transcript.entries[-1]
    swapped = dataclasses.replace(entry, tensors=entry.tensors | {"remainder": strange})
    entries = (*transcript.entries[:-1], swapped)
    changed = dataclasses.replace(seen, transcripts=(Transcript(entries=entries, is_truncated=False),))
    mean = portrait_latents.mean(dim=0, keepdim=True)

    def told(guess):
        hidden = guess.was_hidden
        return correlation((guess.latents - mean)[hidden], (made.output.images - mean)[hidden])

    attack = Remainder(samples=SAMPLES)
    assert abs(told(attack.run(changed))) < 0.25
    assert told(attack.run(seen)) > 0.6


def test_with_everything_encrypted_it_lacks_input(portraits):
    made = run(portraits, paper(selection="all"), **PORTRAIT)
    with pytest.raises(LacksInput, match="no entry of the last latents in the clear"):
        Remainder(samples=SAMPLES).run(view(made, portraits))


def test_own_pictures_are_kept_and_made_again_where_that_fails(tiny_sd, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = own_latents(tiny_sd, (8, 8), 2)
    (kept,) = tmp_path.rglob("*.safetensors")
    assert made.shape == (2, 4, 8, 8)
    kept.write_bytes(b"damaged")
    assert torch.equal(own_latents(tiny_sd, (8, 8), 2), made)
    with monkeypatch.context() as patch:
        patch.setattr("sfumato.attacks.own_latents._made", None)
        assert torch.equal(own_latents(tiny_sd, (8, 8), 2), made)
    with pytest.raises(ValueError, match="makes 1 picture of its own or more, got 0"):
        own_latents(tiny_sd, (8, 8), 0)


def test_what_is_filled_in_by_hand():
    """Two entries with variance 2 and covariance 1: the other's conditional mean is half of the one's."""
    spectrum = torch.tensor([3.0, 1.0], dtype=torch.complex128).reshape(1, 2, 1, 1)
    prior = StationaryPrior(mean=torch.zeros(1, 1, 2, dtype=torch.float64), spectrum=spectrum)
    filled = prior.filled_in(torch.tensor([[[4.0, 0.0]]]), torch.tensor([[[True, False]]]))
    assert torch.allclose(filled, torch.tensor([[[4.0, 2.0]]], dtype=torch.float64))


def test_one_picture_has_no_spectrum(portrait_latents):
    with pytest.raises(ValueError, match="from 2 pictures or more, got 1"):
        StationaryPrior.of(portrait_latents[:1])
