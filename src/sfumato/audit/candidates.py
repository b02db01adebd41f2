"""Texts of which one is the prompt: what an attacker may hold for possible beforehand."""

import numpy as np
from jaxtyping import Int

from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.view import RunView
from sfumato.audit.made_runs import Truth, people
from sfumato.protocols.prompt_set.candidates import candidate_set
from sfumato.protocols.prompt_set.spec import PromptSet

_OTHERS = 500_000_000
"""Seeds of the people whose prompts stand beside the true one."""


def candidates_for(
    view: RunView, truth: Truth, first: int, number: int
) -> tuple[tuple[tuple[str, ...], ...], Int[np.ndarray, " secret"]]:
    """For each prompt a list of texts of other people with the prompt among them, at a random place.

    In `prompt-set` the cloud is told the list: the set.

    Args:
        view: of the run.
        truth: of a batch.
        first: number of its first person, which fixes the draw.
        number: texts in each list.

    Returns:
        The lists, and the place of the true text in each.
    """
    if isinstance(view.spec, PromptSet):
        sets = reader_of(view).prompts(view)
        return sets, np.array([_place(view.spec, own) for own in truth.prompts])
    generator = np.random.default_rng(_OTHERS + first)
    true = generator.integers(number, size=len(truth.prompts))
    lists = []
    for place, prompt in enumerate(truth.prompts):
        others = [person.prompt for person in people(_OTHERS + (first + place) * number, number - 1)]
        others.insert(int(true[place]), prompt)
        lists.append(tuple(others))
    return tuple(lists), true


def _place(spec: PromptSet, prompt: str) -> int:
    """Where the client has its own prompt in the set, in which attributes are worded alike."""
    return candidate_set(prompt, max_candidates=spec.max_candidates, on_no_attribute=spec.on_no_attribute).index
