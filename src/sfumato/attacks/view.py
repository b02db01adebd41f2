"""What every attack on a recorded run is given: what clouds saw, what is public, and means to make runs of its own."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import UInt8

from sfumato.errors import LacksInput, SpecMismatch
from sfumato.models.folder import ModelFolder
from sfumato.protocols.base import Spec
from sfumato.protocols.specs import find_spec
from sfumato.tensors import Latent
from sfumato.transport.recording import Recording
from sfumato.wire.selection import Keeps
from sfumato.wire.transcript import Entry, Transcript


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What every cloud sees of a run, or is assumed to know."""

    num_pictures: int
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    height: int
    """Of the pictures, in pixels."""
    width: int


@dataclass(frozen=True, kw_only=True)
class RunView:
    """What a coalition of clouds saw of one run, and what everybody knows; it has no place for a secret."""

    spec: Spec
    model: ModelFolder
    """That the run was made with; its weights are public."""
    transcripts: tuple[Transcript, ...]
    """Of the coalition's clouds, in their order."""
    clouds: tuple[int, ...] = (0,)
    """Which of the spec's clouds these are, counted from 0."""
    settings: RunSettings | None = None
    candidates: tuple[tuple[str, ...], ...] = ()
    """For each picture the texts that the attacker holds for possible, as many for each."""
    rehearsal: "Rehearsal | None" = None
    """The attacker's means to make runs of its own."""
    earlier: "tuple[RunView, ...]" = ()
    """Other runs of the same prompts with other noise, by the same clouds, each with as many pictures."""

    @classmethod
    def of(cls, recording: Recording, model: ModelFolder, clouds: Sequence[str] | None = None) -> "RunView":
        """What some clouds, or all of them, saw.

        Args:
            recording: of the run.
            model: that the attacker takes for the run's.
            clouds: names; None for all, or where clouds of one run follow different protocols for those of the first.

        Raises:
            LacksInput: the run ended before it began.
            SpecMismatch: the run was made with another model, or recorded by another version.
            ValueError: no such cloud, or clouds that follow different protocols.
        """
        views = cls.of_parts(recording, model)
        if clouds is None:
            return views[0]
        if unknown := [name for name in clouds if name not in recording.transcripts]:
            raise ValueError(
                f"no cloud {unknown[0]!r} in the recording: choose from {', '.join(recording.transcripts)}"
            )
        for part, view in zip(_parts(recording), views, strict=True):
            if set(clouds) <= set(part["clouds"]):
                places = tuple(part["clouds"].index(name) for name in clouds)
                return replace(view, transcripts=tuple(recording.transcripts[name] for name in clouds), clouds=places)
        raise ValueError(f"{', '.join(clouds)} follow different protocols: name clouds that follow one")

    @classmethod
    def of_parts(cls, recording: Recording, model: ModelFolder) -> "tuple[RunView, ...]":
        """What all clouds that follow one protocol saw, for each protocol of the run; most runs have one.

        Raises:
            LacksInput, SpecMismatch: as :meth:`of`.
        """
        meta = recording.meta
        if "protocol" not in meta:
            raise LacksInput("the recording ends before a session was opened: record a run that was finished")
        if meta["model_fingerprint"] != model.unet_fingerprint:
            raise SpecMismatch(
                f"the run was made with another model than {model.name!r}: name the one that it was made with"
            )
        return tuple(
            cls(
                spec=find_spec(part["protocol"]).from_json(json.dumps(part["spec"])),
                model=model,
                transcripts=tuple(recording.transcripts[name] for name in part["clouds"]),
                clouds=tuple(range(len(part["clouds"]))),
            )
            for part in _parts(recording)
        )

    def entries(self, *kinds: str) -> Iterator[Entry]:
        """Messages of some kinds, cloud by cloud, in order."""
        return (e for t in self.transcripts for e in t.entries if e.kind in kinds)

    def known_settings(self) -> RunSettings:
        """The run's settings.

        Raises:
            LacksInput: nobody said.
        """
        if self.settings is None:
            raise LacksInput("this attack needs the run's steps, scheduler and guidance: say them with the recording")
        return self.settings

    def known_rehearsal(self) -> "Rehearsal":
        """The means to make runs of the attacker's own.

        Raises:
            LacksInput: there are none.
        """
        if self.rehearsal is None:
            raise LacksInput("this attack learns from runs of its own: start it by sfumato audit, which makes them")
        return self.rehearsal


def _parts(recording: Recording) -> list[dict[str, Any]]:
    """Clouds, protocol and spec of each part."""
    meta = recording.meta
    whole = {"clouds": list(recording.transcripts), "protocol": meta["protocol"], "spec": meta["spec"]}
    return list(meta.get("parts") or [whole])


@dataclass(frozen=True, kw_only=True, eq=False)
class Rehearsed:
    """One run of the attacker's own, and what it asked for."""

    view: RunView
    """Of the same clouds as the view under attack; after the first run it may be of a cloud that sees the same numbers
    and more."""
    prompts: tuple[str, ...]
    attributes: tuple[dict[str, str], ...]
    """What each prompt says of the person."""
    latents: Latent
    """After the last step."""
    pictures: UInt8[np.ndarray, "batch rows columns 3"]


class Rehearsal(ABC):
    """Runs the protocol under attack with the public model, on prompts that the attacker draws."""

    @abstractmethod
    def runs(self, num_pictures: int, keeps: Keeps, *, same_messages: bool = False) -> Iterator[Rehearsed]:
        """Makes runs of several pictures each, the same ones at every call.

        Args:
            num_pictures: in all.
            keeps: which messages' tensors are wanted; the others would fill the memory.
            same_messages: every run has the messages of the run under attack, for attacks that read their sizes.
        """

    @property
    @abstractmethod
    def name(self) -> str:
        """Names protocol, settings, model and clouds: what was learned from it fits all runs of that name."""
