"""Attributes of the person from features of one layer: logistic regression on what a strip's features sum up to.

Source: Hastie, Tibshirani and Friedman 2009, "The Elements of Statistical Learning", section 4.4, with a ridge penalty;
reading attributes off features is property inference, Melis et al. 2019, arXiv 1805.04049.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.attacks.base import Attack
from sfumato.attacks.guesses import AttributeGuess, Secret
from sfumato.attacks.learned.lessons import (
    MID_LAYER,
    cache_file,
    features_at,
    keep_tensors,
    lessons,
    read_tensors,
)
from sfumato.attacks.learned.logistic import fitted, probabilities
from sfumato.attacks.learned.standard import Standard
from sfumato.attacks.seen.keeping import bears_on
from sfumato.attacks.view import RunView
from sfumato.portraits.attributes import VALUES
from sfumato.protocols.base import setting

_PSEUDO = 1.0
"""Added to each value's count, so that no frequency is 0."""


@dataclass(frozen=True, kw_only=True)
class AttributeReader(Attack):
    """Learns each attribute from channel means, deviations, and means of rows and columns, on runs of its own.

    The penalty of each attribute is the one that does best on runs held out, so that an attribute that cannot be read
    comes out near its frequencies.

    Run by: attacker.
    """

    name: ClassVar[str] = "attribute-reader"
    needs: ClassVar[str] = "features of one layer, and the means to make runs of the same protocol"
    secret: ClassVar[Secret] = Secret.ATTRIBUTES

    layer: str = setting(MID_LAYER, "the U-Net's layer whose input is read, by its path")
    step: int = setting(-1, "which step is read, from 0; -1: the last")
    runs: int = setting(400, "pictures that the attacker makes itself, to learn from")

    def run(self, view: RunView) -> AttributeGuess:
        """Every attribute."""
        told = summary(features_at(view, self.layer, self.step).values)
        reader = self._reader(view)
        rows = Standard(mean=reader["mean"], directions=reader["directions"])(told)
        return AttributeGuess(
            probabilities={name: probabilities(rows, reader[name]).numpy() for name in VALUES},
            finding=f"read off {told.shape[1]} numbers of {self.layer}, learned from {self.runs} pictures of its own",
        )

    def prior(self, view: RunView) -> AttributeGuess:
        """How often each value occurs in its own runs."""
        learned = lessons(view.known_rehearsal(), self.layer, self.step, self.runs)
        pictures = view.known_settings().num_pictures
        found = {}
        for place, (name, values) in enumerate(VALUES.items()):
            counts = torch.bincount(learned.attributes[:, place], minlength=len(values)).double() + _PSEUDO
            found[name] = (counts / counts.sum()).expand(pictures, -1).numpy()
        return AttributeGuess(probabilities=found, finding="how often each value occurs")

    def keeps(self, kind: str, values: Mapping[str, Any]) -> bool:
        """One layer's features."""
        return bears_on(kind, values, self.layer)

    def _reader(self, view: RunView) -> dict[str, Tensor]:
        path = cache_file("attributes", view.known_rehearsal().name, self.layer, self.step, self.runs)
        kept = read_tensors(path)
        if kept is None:
            kept = self._learned(view)
            keep_tensors(path, kept)
        return kept

    def _learned(self, view: RunView) -> dict[str, Tensor]:
        learned = lessons(view.known_rehearsal(), self.layer, self.step, self.runs)
        told = summary(learned.features.values)
        standard = Standard.of(told)
        rows = standard(told)
        weights = {
            name: fitted(rows, learned.attributes[:, place], len(values))
            for place, (name, values) in enumerate(VALUES.items())
        }
        return {"mean": standard.mean, "directions": standard.directions, **weights}


def summary(features: Float[Tensor, "picture channel height width"]) -> Float[Tensor, "picture number"]:
    """Means and deviations of each channel, and its mean in each row and column."""
    parts = (features.mean((2, 3)), features.std((2, 3), correction=0), features.mean(3), features.mean(2))
    return torch.cat([part.flatten(1) for part in parts], dim=1)
