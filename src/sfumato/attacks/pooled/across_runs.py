"""Several runs of one prompt pooled: what single runs tell little of adds up.

Source: independent observations add their log-likelihoods (naive Bayes), e.g. Hastie, Tibshirani and Friedman 2009,
"The Elements of Statistical Learning", section 6.6.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from sfumato.attacks.base import Attack
from sfumato.attacks.guesses import ChoiceGuess, Secret
from sfumato.attacks.text.rank_prompts import RankPrompts
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.protocols.base import setting


@dataclass(frozen=True, kw_only=True)
class AcrossRuns(Attack):
    """Ranks candidate texts by the sum of their scores over re-rolls of the same prompts.

    Run by: attacker.
    """

    name: ClassVar[str] = "across-runs"
    needs: ClassVar[str] = "several runs of one prompt, latents and predictions of each, and candidate texts"
    secret: ClassVar[Secret] = Secret.CHOICE

    runs: int = setting(3, "runs that are pooled, the one under attack among them")
    candidates: int = setting(10, "texts that the attacker holds for possible")
    steps: int = setting(1, "how many steps of each run are compared, from the first on")

    @property
    def num_candidates(self) -> int:
        """As set."""
        return self.candidates

    @property
    def num_earlier(self) -> int:
        """All but the run under attack."""
        return max(0, self.runs - 1)

    def run(self, view: RunView) -> ChoiceGuess:
        """Sums scores of every candidate over the runs.

        Raises:
            LacksInput: fewer runs than are to be pooled, or of other numbers of pictures.
        """
        if len(view.earlier) < self.num_earlier:
            raise LacksInput(
                f"this attack pools {self.runs} runs of one prompt, and there are {len(view.earlier) + 1}: name more"
            )
        every = [view, *(replace(each, candidates=view.candidates) for each in view.earlier[: self.num_earlier])]
        found = [self._single.run(each).scores for each in every]
        if len({scores.shape for scores in found}) > 1:
            raise LacksInput("runs that are pooled must have equally many pictures and candidates")
        return ChoiceGuess(
            scores=np.sum(found, axis=0),
            finding=f"scores of {found[0].shape[1]} texts were summed over {self.runs} runs",
        )

    def prior(self, view: RunView) -> ChoiceGuess:
        """All alike."""
        return self._single.prior(view)

    def keeps(self, kind: str, values: Mapping[str, Any]) -> bool:
        """Latents and predictions."""
        return self._single.keeps(kind, values)

    @cached_property
    def _single(self) -> RankPrompts:
        return RankPrompts(candidates=self.candidates, steps=self.steps)
