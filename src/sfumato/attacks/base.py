"""What every attack on a recorded run is given, and what it gives back."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool
from torch import Tensor

from sfumato.errors import LacksInput, SpecMismatch
from sfumato.models.folder import ModelFolder
from sfumato.protocols.base import Spec
from sfumato.protocols.specs import find_spec
from sfumato.tensors import Latent
from sfumato.transport.recording import Recording
from sfumato.wire.transcript import Entry, Transcript


@dataclass(frozen=True, kw_only=True)
class RunView:
    """What a coalition of clouds saw of one run, and what everybody knows; it has no place for a secret."""

    spec: Spec
    model: ModelFolder
    """That the run was made with; its weights are public."""
    transcripts: tuple[Transcript, ...]
    """Of the coalition's clouds, in their order."""

    @classmethod
    def of(cls, recording: Recording, model: ModelFolder, clouds: Sequence[str] | None = None) -> "RunView":
        """What some clouds, or all of them, saw.

        Args:
            recording: of the run.
            model: that the attacker takes for the run's.
            clouds: names; None for all.

        Raises:
            LacksInput: the run ended before it began.
            SpecMismatch: the run was made with another model, or recorded by another version.
            ValueError: no such cloud.
        """
        meta = recording.meta
        if "protocol" not in meta:
            raise LacksInput("the recording ends before a session was opened: record a run that was finished")
        if meta["model_fingerprint"] != model.unet_fingerprint:
            raise SpecMismatch(
                f"the run was made with another model than {model.name!r}: name the one that it was made with"
            )
        names = list(recording.transcripts) if clouds is None else list(clouds)
        if unknown := [name for name in names if name not in recording.transcripts]:
            raise ValueError(
                f"no cloud {unknown[0]!r} in the recording: choose from {', '.join(recording.transcripts)}"
            )
        return cls(
            spec=find_spec(meta["protocol"]).from_json(json.dumps(meta["spec"])),
            model=model,
            transcripts=tuple(recording.transcripts[name] for name in names),
        )

    def entries(self, *kinds: str) -> Iterator[Entry]:
        """Messages of some kinds, cloud by cloud, in order."""
        return (e for t in self.transcripts for e in t.entries if e.kind in kinds)


@dataclass(frozen=True, kw_only=True, eq=False)
class Guess:
    """What an attack says the run made."""

    latents: Latent
    """After the last step."""
    was_hidden: Bool[Tensor, "batch channel height width"]
    """Entries that were encrypted in the last step."""
    finding: str
    """What was recovered and how, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """One idea; its fields are its settings. It writes a guess and never judges it."""

    name: ClassVar[str]
    needs: ClassVar[str]
    """What it works on, in a few words."""

    @abstractmethod
    def run(self, view: RunView) -> Guess:
        """Guesses from what was seen.

        Run by: attacker.

        Raises:
            LacksInput: the view does not hold what the attack works on; says what is missing.
        """

    @abstractmethod
    def prior(self, view: RunView) -> Guess:
        """Guesses without the transcript: from the public model, and the sizes of the pictures.

        Run by: attacker.
        """
