"""What stands around a running attack: who is told how far it is, and where it keeps what it has."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One finished iteration."""

    stage: str
    """What is being optimised, such as the second prior of the first batch."""
    done: int
    total: int
    """Iterations of this stage; fewer where it stops on a plateau."""
    loss: float
    """Of all pictures of the stage together."""


def _nobody(_: Progress) -> None:
    """Tells no one."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Nobody is told and nothing is kept, unless said otherwise."""

    on_iteration: Callable[[Progress], None] = _nobody
    folder: Path | None = None
    """Where checkpoints are kept; the same attack with the same folder goes on from them."""
    networks: Path | None = None
    """Where trained inversion networks are kept, for every attack that needs the same one."""
    keep_every: int = 10
    """Iterations between two checkpoints."""
    task: str = ""
    """Names the features and settings that checkpoints belong to."""

    def of(self, task: str) -> "Watch":
        """The same for a task."""
        return replace(self, task=task)

    def file(self, stage: str) -> Path | None:
        """Where a stage's checkpoint is kept."""
        return None if self.folder is None else self.folder / f"{stage}.safetensors"
