"""What a coalition holds of one map, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from jaxtyping import Bool
from torch import Tensor

from sfumato.attacks.seen.base import Half, SeenMap, assembled
from sfumato.errors import LacksInput
from sfumato.tensors import FeatureMap


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenStep:
    """One map at one step."""

    step: int
    timestep: float
    """nan where the protocol does not tell it."""
    values: FeatureMap
    """Zero where nobody saw it."""
    known: Bool[Tensor, "height width"]
    half: Half
    """Of features and predictions."""

    @property
    def is_whole(self) -> bool:
        """Every cell was seen."""
        return bool(self.known.all())


def by_step(maps: Sequence[SeenMap]) -> list[SeenStep]:
    """Puts together what several clouds hold, in the order of steps."""
    found = []
    for step, group in groupby(sorted(maps, key=lambda each: each.step), key=lambda each: each.step):
        together = list(group)
        values, known = assembled(together)
        first = together[0]
        found.append(SeenStep(step=step, timestep=first.timestep, values=values, known=known, half=first.half))
    return found


def chosen(steps: Sequence[SeenStep], step: int) -> SeenStep:
    """One of the steps.

    Args:
        steps: those seen.
        step: its number from 0; negative ones count from the last that was seen.

    Raises:
        LacksInput: it was not seen.
    """
    if not steps:
        raise LacksInput("the run ended before its first step: record one that was finished")
    if -len(steps) <= step < 0:
        return steps[step]
    found = next((each for each in steps if each.step == step), None)
    if found is None:
        raise LacksInput(
            f"step {step} was not seen, of steps {steps[0].step} to {steps[-1].step}: choose one of these, or -1 for "
            "the last"
        )
    return found
