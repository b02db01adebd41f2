"""Entries in the clear tell the encrypted ones, the more the fewer these are."""

import dataclasses

import pytest

from paper_runs import PORTRAIT, paper, run, view
from sfumato.attacks.own_latents import own_latents
from sfumato.attacks.paper_steps import paper_steps
from sfumato.attacks.remainder import Remainder
from sfumato.audit.scores import correlation
from sfumato.errors import LacksInput
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
