"""The seed from a few rows of the first noise: a cloud that holds them tries all seeds.

Source: ours; see "A seeded picture" in ``docs/threat-model.md``. torch reads 32 bits of a seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sfumato.attacks.base import Attack
from sfumato.attacks.guesses import Secret, SeedGuess
from sfumato.attacks.seen.base import SeenMap
from sfumato.attacks.seen.catalog import READERS, reader_of
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.metrics.agreement import correlation
from sfumato.protocols.base import setting
from sfumato.randomness import seeded_generator

_SAME = 0.999
"""Correlation of one noise with itself after a number format of 8 bits; with another noise it is near 0."""


@dataclass(frozen=True, kw_only=True)
class SeedSearch(Attack):
    """Makes the noise of one seed after another until its rows are those that were seen.

    Its work grows with the number of seeds. Noise that came from the operating system is never found.

    Run by: attacker.
    """

    name: ClassVar[str] = "seed-search"
    needs: ClassVar[str] = "latents of the first step, in part or whole"
    secret: ClassVar[Secret] = Secret.SEED

    first: int = setting(0, "the seed to begin with")
    count: int = setting(4096, "how many seeds are tried")

    def run(self, view: RunView) -> SeedGuess:
        """Compares rows of the first picture's noise; one generator draws the noise of all pictures of a run."""
        seen = [each for each in reader_of(view).latents(view) if each.step == 0]
        if not seen:
            raise LacksInput("the run ended before its first step: record one that was finished")
        number = len(seen[0].values)
        for seed in range(self.first, self.first + self.count):
            if _agrees(seed, seen[0]):
                return SeedGuess(seeds=(seed,) * number, finding="the noise of one seed has the rows that were seen")
        return SeedGuess(seeds=(None,) * number, finding=f"none of {self.count} seeds gives the rows that were seen")

    def prior(self, view: RunView) -> SeedGuess:
        """None: a seed taken blindly is right once in 2^32 times."""
        return SeedGuess(seeds=(None,) * view.known_settings().num_pictures, finding="no seed")

    def keeps(self, kind: str, values: Mapping[str, Any]) -> bool:
        """Latents."""
        return any(reader.keeps("latents", kind, values) for reader in READERS.values())


def _agrees(seed: int, seen: SeenMap) -> bool:
    window = seen.window
    channels = seen.values.shape[1]
    noise = torch.randn(channels, window.height, window.width, generator=seeded_generator(seed))
    own = noise[:, window.top : window.bottom, window.left : window.right]
    return (correlation(own, seen.values[0]) or 0.0) > _SAME
