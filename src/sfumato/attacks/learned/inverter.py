"""The whole picture from features of a part of one layer, as learned from runs of the attacker's own.

What it tells of the picture outside the part is what attention and deep layers carry across.

Source: learning to invert features is Dosovitskiy and Brox 2016, arXiv 1506.02753. The network here is one linear
layer, solved exactly: from a hundred pictures the convolutions of ``inversion/inversion_network.py`` learned less.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sfumato.attacks.base import Attack
from sfumato.attacks.guesses import PictureGuess
from sfumato.attacks.learned.lessons import MID_LAYER, features_at, lessons
from sfumato.attacks.learned.ridge import Ridge
from sfumato.attacks.learned.standard import Standard
from sfumato.attacks.seen.keeping import bears_on
from sfumato.attacks.view import Rehearsal, RunView
from sfumato.models.decoding import to_uint8
from sfumato.protocols.base import setting


@dataclass(frozen=True, kw_only=True)
class LearnedInverter(Attack):
    """Expects each pixel from all numbers that were seen of the layer.

    Run by: attacker.
    """

    name: ClassVar[str] = "learned-inverter"
    needs: ClassVar[str] = "features of one layer, and the means to make runs of the same protocol"

    layer: str = setting(MID_LAYER, "the U-Net's layer whose input is read, by its path")
    step: int = setting(-1, "which step is read, from 0; -1: the last")
    runs: int = setting(400, "pictures that the attacker makes itself, to learn from")

    def run(self, view: RunView) -> PictureGuess:
        """The pictures."""
        seen = features_at(view, self.layer, self.step)
        standard, ridge = _learned(view.known_rehearsal(), self.layer, self.step, self.runs)
        return PictureGuess(
            pictures=_pictures(view, ridge(standard(seen.values.flatten(1)))),
            finding=f"from {seen.window.share:.0%} of {self.layer}, learned from {self.runs} pictures of its own",
        )

    def prior(self, view: RunView) -> PictureGuess:
        """The mean of its own pictures."""
        ridge = _learned(view.known_rehearsal(), self.layer, self.step, self.runs).ridge
        mean = ridge.mean.expand(view.known_settings().num_pictures, -1)
        return PictureGuess(pictures=_pictures(view, mean), finding="the mean of its own pictures")

    def keeps(self, kind: str, values: Mapping[str, Any]) -> bool:
        """One layer's features."""
        return bears_on(kind, values, self.layer)


class _Learned(NamedTuple):
    standard: Standard
    ridge: Ridge


@lru_cache(maxsize=1)
def _learned(rehearsal: Rehearsal, layer: str, step: int, runs: int) -> _Learned:
    learned = lessons(rehearsal, layer, step, runs)
    rows = learned.features.values.flatten(1)
    standard = Standard.of(rows)
    return _Learned(standard, Ridge.of(standard(rows), learned.pictures.flatten(1).float() / 255))


def _pictures(view: RunView, pixels: Float[Tensor, "batch pixel"]) -> np.ndarray:
    settings = view.known_settings()
    shaped = pixels.unflatten(1, (settings.height, settings.width, 3)).permute(0, 3, 1, 2)
    return np.ascontiguousarray(to_uint8(shaped.clamp(0, 1).float()))
