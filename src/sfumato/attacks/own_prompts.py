"""Prompts that an attacker makes up: what it knows of prompts before it reads a transcript."""

from collections.abc import Sequence

import numpy as np

from sfumato.portraits import caption, draw_attributes

_SEED = 3_000_000_000
"""Nobody else's: audits draw people under attack and rehearsals from smaller seeds."""


def own_prompts(num: int) -> tuple[str, ...]:
    """Captions of portraits that name every attribute, always the same ones."""
    generator = np.random.default_rng(_SEED)
    return tuple(caption(draw_attributes(generator), generator, leave_out=0.0) for _ in range(num))


def most_alike(texts: Sequence[str]) -> str:
    """The text that has most words at the same places as the others; of several the first."""
    words = [text.split() for text in texts]

    def shared(own: list[str]) -> int:
        return sum(a == b for other in words for a, b in zip(own, other, strict=False))

    return texts[max(range(len(texts)), key=lambda place: shared(words[place]))]
