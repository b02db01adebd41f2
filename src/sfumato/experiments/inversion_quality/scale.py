"""How much each cell computes: a few named sizes, each field of which can be set."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Final

from sfumato.protocols.settings import parse_values


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Pictures, iterations, steps and questions of all tables. The defaults fit two cores and an afternoon."""

    pictures: int = 6
    """A cell, but for text and clips."""
    text_pictures: int = 10
    clips: int = 4
    frames: int = 4
    """Of a clip."""
    draws: int = 4
    """Guesses without features."""
    white_iterations: int = 150
    white_steps: int = 5
    direct_iterations: int = 600
    decoder_iterations: int = 200
    queries: int = 256
    epochs: int = 8
    """Of the two baselines, and of the training-set ablation."""
    black_epochs: int = 4
    """Of black-box, whose pictures go through the whole chain."""
    black_steps: int = 2
    channels: int = 32
    training_batch: int = 32
    text_iterations: int = 80
    text_steps: int = 4
    ablation_queries: str = "64,128,256,512,1024"
    clip_iterations: int = 60
    clip_steps: int = 3
    count_iterations: int = 60
    """Of the ablation of sampling steps."""
    step_counts: str = "1,5,10,20,30"
    full_pictures: int = 1
    full_iterations: int = 1500
    full_steps: int = 20

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{each.name} must be at least 1, got {value}")
        for name in ("ablation_queries", "step_counts"):
            numbers(name, getattr(self, name))


def numbers(name: str, text: str) -> tuple[int, ...]:
    """Whole numbers from 1 with commas between them, in rising order.

    Raises:
        ValueError: they are not.
    """
    parts = text.split(",")
    found = tuple(int(part) for part in parts if part.strip().isdecimal())
    if len(found) < len(parts) or not all(found) or list(found) != sorted(set(found)):
        raise ValueError(f"{name} must be rising whole numbers with commas between them, got {text!r}")
    return found


SCALES: Final = {
    "small": Scale(),
    "paper": Scale(
        pictures=100,
        text_pictures=30,
        clips=10,
        white_iterations=1500,
        white_steps=20,
        direct_iterations=1500,
        decoder_iterations=1500,
        queries=4096,
        epochs=96,
        black_epochs=96,
        black_steps=20,
        channels=48,
        training_batch=128,
        text_iterations=1500,
        text_steps=20,
        ablation_queries="256,512,1024,2048,4096",
        clip_iterations=1500,
        clip_steps=10,
        count_iterations=1500,
        step_counts="10,15,20,25,30",
        full_pictures=100,
    ),
}


def scale_from(name: str, pairs: Sequence[str], pictures: int | None = None) -> Scale:
    """A named scale with some fields changed.

    Args:
        name: small or paper.
        pairs: ``FIELD=VALUE``.
        pictures: of every cell of portraits, where given.

    Raises:
        ValueError: no such scale or field, or a value out of range.
    """
    if name not in SCALES:
        raise ValueError(f"--scale must be one of {', '.join(SCALES)}, got {name!r}")
    base = SCALES[name]
    if pictures is not None:
        base = replace(base, pictures=pictures, text_pictures=pictures)
    changed = parse_values("the study", Scale, pairs, {})
    return Scale(**{**asdict(base), **changed})
