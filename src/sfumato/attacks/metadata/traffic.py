"""Traffic analysis: attributes of the person from sizes, counts and times of messages alone.

Source: traffic analysis of encrypted connections, e.g. Dyer et al. 2012, "Peek-a-Boo, I Still See You" (naive Bayes on
sizes and times); here by nearest neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.attacks.base import Attack
from sfumato.attacks.guesses import AttributeGuess, Secret
from sfumato.attacks.metadata.sizes import sizes_of
from sfumato.attacks.view import Rehearsal, Rehearsed, RunView
from sfumato.portraits.attributes import VALUES
from sfumato.protocols.base import Spec, setting
from sfumato.protocols.prompt_set.spec import PromptSet
from sfumato.wire.selection import keep_none


@dataclass(frozen=True, kw_only=True)
class Traffic(Attack):
    """Learns attributes from the sizes, counts and times of runs of its own.

    Its positive control is ``prompt-set``, where the length of a picture's request depends on what all of its
    candidates say: where they stand and what they wear. An attribute that candidates vary is hidden there too, and its
    row is inconclusive.

    Run by: attacker.
    """

    name: ClassVar[str] = "traffic"
    needs: ClassVar[str] = "sizes and times of messages, and the means to make runs of the same protocol"
    secret: ClassVar[Secret] = Secret.ATTRIBUTES

    runs: int = setting(60, "pictures that the attacker makes itself, to learn from")
    neighbours: int = setting(7, "of the attacker's pictures, those with the most similar traffic vote")

    def run(self, view: RunView) -> AttributeGuess:
        """Frequencies among the nearest of its own runs."""
        own = self._own(view)
        told, names = self._told(view, own)
        mean, scale = told.mean(0), told.std(0)
        # What never differs tells nothing, and times differ from run to run alike.
        varies = scale > 1e-9 * mean.abs().clamp_min(1)
        mine = torch.stack([sizes_of(view, view.known_settings().num_pictures)[name] for name in names], dim=1)
        here, there = (((rows - mean) / scale)[:, varies] for rows in (mine, told))
        near = torch.cdist(here, there).topk(min(self.neighbours, len(told)), largest=False).indices.numpy()
        attributes = [person for each in own for person in each.attributes]
        before = _frequencies(attributes)
        return AttributeGuess(
            probabilities={
                name: np.stack([_votes([attributes[i][name] for i in row], name) + before[name] for row in near])
                / (1 + near.shape[1])
                for name in VALUES
            },
            finding=f"{int(varies.sum())} of {len(names)} sizes, counts and times differ between runs",
        )

    def prior(self, view: RunView) -> AttributeGuess:
        """Frequencies among its own runs."""
        before = _frequencies([person for each in self._own(view) for person in each.attributes])
        number = view.known_settings().num_pictures
        return AttributeGuess(
            probabilities={name: np.tile(row, (number, 1)) for name, row in before.items()},
            finding=f"frequencies among {self.runs} other people",
        )

    def keeps(self, kind: str, values: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """No tensor is read."""
        return False

    def control(self) -> Spec:
        """Where the number and length of a picture's texts show."""
        return PromptSet(server_steps="1-1-1")

    def _own(self, view: RunView) -> list[Rehearsed]:
        return _rehearsed(view.known_rehearsal(), self.runs)

    def _told(self, view: RunView, own: list[Rehearsed]) -> tuple[Tensor, list[str]]:
        """Numbers of its own runs that the run under attack has too; one row a picture."""
        number = view.known_settings().num_pictures
        found = [sizes_of(each.view, len(each.prompts)) for each in own]
        names = sorted(set(sizes_of(view, number)).intersection(*found))
        return torch.cat([torch.stack([one[name] for name in names], dim=1) for one in found]), names


_KEPT: dict[tuple[str, int], list[Rehearsed]] = {}
"""Own runs by their rehearsal's name and number: without tensors small, and the same for all batches of an audit."""


def _rehearsed(rehearsal: Rehearsal, runs: int) -> list[Rehearsed]:
    key = rehearsal.name, runs
    if key not in _KEPT:
        _KEPT[key] = list(rehearsal.runs(runs, keep_none, same_messages=True))
    return _KEPT[key]


def _votes(values: list[str], name: str) -> NDArray[np.float64]:
    return np.array([values.count(value) for value in VALUES[name]], dtype=np.float64)


def _frequencies(people: list[dict[str, str]]) -> dict[str, NDArray[np.float64]]:
    """Of each value, one more than were seen."""
    counts = {name: _votes([person[name] for person in people], name) + 1 for name in VALUES}
    return {name: each / each.sum() for name, each in counts.items()}
