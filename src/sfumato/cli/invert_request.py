"""What ``sfumato invert`` was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class InvertRequest:
    """The arguments, as they were given."""

    images: Sequence[str]
    target: str
    weights: Path | None
    layers: Sequence[str]
    methods: Sequence[str]
    priors: Sequence[str]
    settings: Sequence[str]
    defence: str | None
    out: Path
    num_frames: int
    num_draws: int
    seed: int
    model: str
    device: str
    height: int | None
    width: int | None
