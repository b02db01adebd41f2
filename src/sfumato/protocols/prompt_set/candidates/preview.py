"""What a set hides and what not, as JSON values: for ``sfumato prompts`` and for reports."""

from typing import Any

from sfumato.protocols.prompt_set.candidates.candidate_set import PIVOT, CandidateSet
from sfumato.protocols.prompt_set.candidates.prior import effective_candidates


def preview_json(own: CandidateSet, probabilities: tuple[float, ...]) -> dict[str, Any]:
    """The preview as docs/protocols/prompt-set.md describes it; ``index`` and what is beside it stay with the client.

    Args:
        own: the set.
        probabilities: of each candidate, for who reads the set.
    """
    return {
        "prompt": own.prompt,
        "attributes": dict(own.values),
        "covered": [{"words": c.words, "start": c.start, "type": c.type, "value": c.value} for c in own.covered],
        "candidates": list(own.prompts),
        "index": own.index,
        "pivot": PIVOT,
        "posterior": [round(p, 6) for p in probabilities],
        "effective_candidates": round(effective_candidates(probabilities), 3),
        "not_covered": [{"words": n.words, "start": n.start, "kind": n.kind} for n in own.not_covered],
        "correlates": [
            {"words": c.words, "start": c.start, "type": c.type, "values": list(c.values), "covered": c.covered}
            for c in own.correlates
        ],
    }


def verdict(own: CandidateSet, probabilities: tuple[float, ...]) -> str:
    """The set in one sentence."""
    if not own.types:
        return "No attribute is named: the cloud reads the prompt as it is."
    return (
        f"{len(own.prompts)} candidates, as hard to guess as {effective_candidates(probabilities):.1f} equally likely "
        "ones: the cloud's posterior is its prior over the set, here estimated from counts of captions."
    )
