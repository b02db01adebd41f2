"""Sizes that depend on the person tell the person; sizes that do not tell nothing."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from made_views import view
from sfumato.attacks.metadata.sizes import sizes_of
from sfumato.attacks.metadata.traffic import Traffic
from sfumato.attacks.view import Rehearsal, Rehearsed, RunView
from sfumato.errors import LacksInput
from sfumato.portraits.attributes import VALUES
from sfumato.protocols.plain.spec import Plain
from sfumato.wire.transcript import Transcript

NAME = "glasses"


def padded(seen: RunView, person: dict[str, str], amount: int) -> RunView:
    """A planted leak: the last message is longer by what the person wears."""
    extra = amount * list(VALUES[NAME]).index(person[NAME])
    (told,) = seen.transcripts
    last = replace(told.entries[-1], size_bytes=told.entries[-1].size_bytes + extra)
    return replace(seen, transcripts=(Transcript(entries=(*told.entries[:-1], last), is_truncated=False),))


def people(number: int, seed: int) -> list[dict[str, str]]:
    drawn = np.random.default_rng(seed)
    return [{name: str(drawn.choice(list(values))) for name, values in VALUES.items()} for _ in range(number)]


@dataclass(frozen=True)
class Planted(Rehearsal):
    """Runs of one picture each, padded."""

    seen: RunView
    amount: int

    @property
    def name(self):
        return f"planted {self.amount}"

    def runs(self, num_pictures, keeps, *, same_messages=False):
        for person in people(num_pictures, 1):
            yield Rehearsed(
                view=padded(self.seen, person, self.amount),
                prompts=("",),
                attributes=(person,),
                latents=torch.zeros(1, 4, 32, 32),
                pictures=np.zeros((1, 128, 128, 3), dtype=np.uint8),
            )


def right(portraits, amount: int) -> tuple[float, float]:
    """How often the attack and its prior name the value, over 20 people."""
    seen = view(portraits, Plain(), number=1)
    seen = replace(seen, rehearsal=Planted(seen, amount))
    attack, found = Traffic(runs=40), []
    for person in people(20, 2):
        one = padded(seen, person, amount)
        place = list(VALUES[NAME]).index(person[NAME])
        guesses = (attack.run(one), attack.prior(one))
        assert all(np.allclose(rows.sum(1), 1) for guess in guesses for rows in guess.probabilities.values())
        found.append([guess.probabilities[NAME][0].argmax() == place for guess in guesses])
    guess, prior = np.mean(found, axis=0)
    return guess, prior


def test_a_planted_leak_is_found(portraits):
    guess, prior = right(portraits, 1000)
    assert guess == 1
    assert prior < 0.8


def test_equal_sizes_tell_no_more_than_frequencies(portraits):
    guess, prior = right(portraits, 0)
    assert guess <= prior + 0.25


def test_what_is_the_same_in_all_runs_is_noticed(portraits):
    seen = view(portraits, Plain(), number=1)
    found = sizes_of(seen, 1)
    assert any(name.endswith("seconds") for name in found)
    assert not any(Traffic().keeps(entry.kind, entry.values) for entry in seen.transcripts[0].entries)
    with pytest.raises(LacksInput, match="runs of its own"):
        Traffic().run(seen)
