"""The seam of inversion methods: settings as fields, and one function from a view to a guess."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, final, get_args, get_origin

import torch

from sfumato.attacks.inversion.peak_memory import MemoryPeak
from sfumato.attacks.inversion.view import FeatureView, Guess, Pictures
from sfumato.attacks.inversion.watch import Watch
from sfumato.errors import Unsupported

_NO_MEMORY = ("allocate memory", "out of memory")
"""In what torch says on the CPU, and on accelerators in errors of no class of their own."""


def setting(default: Any, help: str, *, names_task: bool = True) -> Any:
    """A field of a method.

    Args:
        default: its value.
        help: what it is, for the command line.
        names_task: whether a checkpoint made with another value is of another task.
    """
    return field(default=default, metadata={"help": help, "names_task": names_task})


@dataclass(frozen=True, kw_only=True)
class InversionMethod(ABC):
    """One way to invert features. A method is a frozen dataclass whose fields are its settings; it writes `guess`,
    `prior_only` and its name, and the harness clips, scores and draws.
    """

    name: ClassVar[str]

    seed: int = setting(0, "of the attacker's own random numbers")
    batch_size: int = setting(8, "pictures that are inverted together; clips stay whole")

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        for each in fields(self):
            value, names = getattr(self, each.name), get_args(each.type) if get_origin(each.type) is Literal else ()
            if names and value not in names:
                raise ValueError(f"{each.name} must be one of {', '.join(names)}, got {value!r}")
            if each.name.endswith("_weight") and value < 0:
                raise ValueError(f"{each.name} must not be negative, got {value}")

    @final
    def run(self, view: FeatureView, watch: Watch | None = None) -> Guess:
        """Inverts the features of a view, as many pictures at a time as `batch_size` says.

        Run by: attacker.

        Raises:
            LacksInput: the view does not hold what the method works on.
            Unsupported: the model cannot be used for it, or there is not enough memory.
            ValueError, ModelError: the watch's checkpoints are another task's, or damaged.
        """
        watched = (watch or Watch()).of(self._task(view))
        clips = max(1, self.batch_size // view.num_frames)
        guesses = []
        with MemoryPeak(view.device) as peak, enough_memory():
            for part, start in enumerate(range(0, view.num_pictures, clips * view.num_frames)):
                rows = torch.arange(start, min(start + clips * view.num_frames, view.num_pictures))
                guesses.append(self.guess(view.some(rows), start, f"part-{part + 1}", watched))
                if not guesses[-1].finished:
                    break
        return _joined(guesses, view, peak.bytes)

    @abstractmethod
    def guess(self, view: FeatureView, first: int, stage: str, watch: Watch) -> Guess:
        """Inverts the features of one batch.

        Args:
            view: of the batch.
            first: place of its first picture among all, for what is drawn for each.
            stage: names the batch, for progress and checkpoints.
            watch: who is told, and where checkpoints go.
        """

    @abstractmethod
    def prior_only(self, view: FeatureView, draw: int) -> Pictures:
        """What the same attacker would guess without the features; another draw is another guess.

        Returns:
            One picture for each of the view's, on the CPU.
        """

    def _task(self, view: FeatureView) -> str:
        """Names what is inverted and how, so that a checkpoint of something else is not taken for this one's."""
        settings = {
            name: value
            for name, value in asdict(self).items()
            if type(self).__dataclass_fields__[name].metadata.get("names_task", True)
        }
        digest = hashlib.sha256()
        for part in view.features:
            digest.update(str(tuple(part.shape)).encode())
            digest.update(part.detach().cpu().contiguous().float().numpy().tobytes())
        about = {
            "method": self.name,
            "settings": settings,
            "cut": asdict(view.cut),
            "model": view.model.fingerprint,
            "priors": view.priors,
            "frames": view.num_frames,
            "features": digest.hexdigest(),
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


@contextmanager
def enough_memory() -> Iterator[None]:
    """Turns a failed allocation into a sentence.

    Raises:
        Unsupported: there was not enough memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not told and not any(words in str(error) for words in _NO_MEMORY):
            raise
        raise Unsupported(
            "there is not enough memory: lower batch_size or memory_gib, or take smaller pictures; earlier results "
            "are kept"
        ) from error


def _joined(guesses: list[Guess], view: FeatureView, peak_bytes: int) -> Guess:
    """One guess of all batches; of pictures that were not reached, nothing is guessed but grey."""
    missing = view.num_pictures - sum(len(guess.pictures) for guess in guesses)
    grey = torch.full((missing, 3, *view.picture_size), 0.5)
    return Guess(
        pictures=torch.cat([*(guess.pictures for guess in guesses), grey]),
        losses=_side_by_side([guess.losses for guess in guesses if guess.losses is not None], missing),
        texts=tuple(text for guess in guesses for text in guess.texts or ()) or None,
        seconds=sum(guess.seconds for guess in guesses),
        peak_bytes=peak_bytes,
        finished=all(guess.finished for guess in guesses),
    )


def _side_by_side(losses: list[torch.Tensor], missing: int) -> torch.Tensor | None:
    """Loss curves of all batches, the shorter ones filled up with nan."""
    if not losses:
        return None
    length = max(len(part) for part in losses)
    filled = [torch.cat([part, part.new_full((length - len(part), part.shape[1]), torch.nan)]) for part in losses]
    return torch.cat([*filled, filled[0].new_full((length, missing), torch.nan)], dim=1)
