"""The frozen description of one study, and its pieces of work."""

import hashlib
import json
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from functools import cached_property

from sfumato.experiments.prompt_set_quality.portrait_prompts import PortraitPrompt, portrait_prompts
from sfumato.experiments.prompt_set_quality.ways import PAPER_SETTINGS, Way, all_ways, painting_ways
from sfumato.models.folder import ModelFolder, find_model
from sfumato.protocols.prompt_set.acceleration import PUBLISHED_INFERENCE_STEPS


@dataclass(frozen=True, kw_only=True)
class Study:
    """What all pictures of a folder have in common; device models may follow each other in it."""

    model: str
    """Name or folder."""
    model_fingerprint: str
    height: int
    width: int
    settings: tuple[str, ...] = PAPER_SETTINGS
    num_inference_steps: int = PUBLISHED_INFERENCE_STEPS
    guidance_scale: float = 5.0
    scheduler: str = "dpm++"

    def __post_init__(self) -> None:
        specs = [way.spec for way in self.ways if way.setting is not None]  # all settings are read before one is tried
        for spec in specs:
            spec.acceleration.require_within(self.num_inference_steps)

    def to_dict(self) -> dict[str, object]:
        """As JSON values, but for where the model lies."""
        return {"experiment": "prompt-set", **{k: v for k, v in asdict(self).items() if k != "model"}}

    @cached_property
    def folder(self) -> ModelFolder:
        """The server's model."""
        return find_model(self.model)

    @property
    def ways(self) -> tuple[Way, ...]:
        """Lines of a table."""
        return all_ways(self.settings)

    @property
    def painting_ways(self) -> tuple[Way, ...]:
        """Ways with pictures of their own."""
        return painting_ways(self.settings)

    def case(self, way: Way, prompt: PortraitPrompt, device_fingerprint: str | None = None) -> str:
        """Names what one way makes of one prompt: latents of the server, or a picture where a device is named."""
        whole = [self.to_dict(), asdict(way), asdict(prompt), device_fingerprint]
        # What a study is made of besides does not change a picture.
        whole[0] = {k: v for k, v in self.to_dict().items() if k != "settings"}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Numbers:
    """How many prompts of each size of the candidate set."""

    of_sizes: tuple[tuple[int, int], ...]

    def prompts(self) -> tuple[PortraitPrompt, ...]:
        """All of them: a few of each size in turn, so that a run that is stopped has some of all."""
        lists = [portrait_prompts(size, number) for size, number in self.of_sizes]
        places = [(p.index / len(some), p) for some in lists for p in some]
        return tuple(p for _, p in sorted(places, key=lambda each: (each[0], each[1].num_candidates)))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Prompts that one process works on together, all of one size of the candidate set."""

    study: Study
    prompts: tuple[PortraitPrompt, ...]


def batches(
    study: Study,
    prompts: Sequence[PortraitPrompt],
    ways: Sequence[Way],
    finished: Set[str],
    size: int,
    device: str | None = None,
) -> list[Batch]:
    """The prompts that lack something, in batches of one size of the candidate set, as they come.

    Args:
        study: theirs.
        prompts: in the order in which to take them.
        ways: that are to be finished.
        finished: cases.
        size: prompts in a batch.
        device: fingerprint of the device model where pictures are meant; None for the server's latents.
    """
    waiting: dict[int, list[PortraitPrompt]] = {}
    cut: list[tuple[PortraitPrompt, ...]] = []
    for prompt in prompts:
        if all(study.case(way, prompt, device) in finished for way in ways):
            continue
        same = waiting.setdefault(prompt.num_candidates, [])
        same.append(prompt)
        if len(same) == size:
            cut.append(tuple(waiting.pop(prompt.num_candidates)))
    return [Batch(study=study, prompts=some) for some in (*cut, *map(tuple, waiting.values()))]
