"""What a sweep computes: conditions times prompts, in an order that never changes."""

import hashlib
import json
from collections.abc import Set
from dataclasses import asdict, dataclass, replace

from sfumato.experiments.prompts import Prompt, PromptSet
from sfumato.protocols.base import Spec
from sfumato.protocols.plain.spec import Plain


@dataclass(frozen=True, kw_only=True)
class Condition:
    """How a picture is computed, its prompt and seed apart."""

    model: str
    """Name or folder."""
    model_fingerprint: str
    protocol: str
    spec_json: str
    num_inference_steps: int
    height: int
    width: int
    guidance_scale: float = 5.0
    scheduler: str = "ddim"

    @property
    def unsplit(self) -> "Condition":
        """The same picture without a split: what a split one is compared with."""
        return replace(self, protocol=Plain.name, spec_json=Plain().to_json())

    @property
    def work(self) -> float:
        """Computing time of one picture, up to a factor: for progress."""
        return float(self.num_inference_steps * self.height * self.width)

    def case(self, prompt_set: str, prompt: Prompt) -> str:
        """Names the one picture that this condition makes of a prompt: 24 hexadecimal digits."""
        # The folder may move; the fingerprint says which weights they were.
        condition = {k: v for k, v in asdict(self).items() if k != "model"}
        whole = json.dumps([condition, prompt_set, asdict(prompt)], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:24]


def condition(model: str, fingerprint: str, spec: Spec, *, steps: int, height: int, width: int) -> Condition:
    """A condition under the paper's sampler: DDIM, guidance 5."""
    return Condition(
        model=model,
        model_fingerprint=fingerprint,
        protocol=spec.name,
        spec_json=spec.to_json(),
        num_inference_steps=steps,
        height=height,
        width=width,
    )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Prompts that one worker process computes in one go under one condition."""

    condition: Condition
    prompt_set: str
    prompts: tuple[Prompt, ...]
    chunk: int
    """Which part of the prompt set it is from, counted from 0: what sweeps are shared out by."""

    @property
    def cases(self) -> list[str]:
        """Names of its pictures, in order."""
        return [self.condition.case(self.prompt_set, p) for p in self.prompts]

    @property
    def work(self) -> float:
        """Computing time up to a factor."""
        return len(self.prompts) * self.condition.work


@dataclass(frozen=True, kw_only=True)
class Block:
    """A part of a sweep: some conditions on one prompt set."""

    prompt_set: str
    conditions: tuple[Condition, ...]
    is_ablation: bool = False
    """Ablations may be limited to fewer prompts than the main part."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The frozen description of a whole study; ``sweep.json`` in its output folder."""

    experiment: str
    prompt_sets: tuple[PromptSet, ...]
    blocks: tuple[Block, ...]
    batch_size: int = 16

    def to_dict(self) -> dict[str, object]:
        """As JSON values: prompt sets by size and digest, conditions in full but for where the model lies."""
        return {
            "experiment": self.experiment,
            "batch_size": self.batch_size,
            "prompt_sets": {s.name: {"prompts": len(s.prompts), "sha256": s.digest} for s in self.prompt_sets},
            "blocks": [
                {
                    "prompt_set": b.prompt_set,
                    "is_ablation": b.is_ablation,
                    "conditions": [{k: v for k, v in asdict(c).items() if k != "model"} for c in b.conditions],
                }
                for b in self.blocks
            ],
        }

    def batches(self, *, limit: int | None = None, ablation_limit: int | None = None) -> list[Batch]:
        """All batches in order: prompts in chunks, and for each chunk every condition, the unsplit ones first.

        Args:
            limit: take only the first prompts of each set; all by default.
            ablation_limit: the same for ablations; by default as ``limit``.
        """
        sets = {s.name: s for s in self.prompt_sets}
        seen: set[str] = set()
        found = []
        for block in self.blocks:
            most = ablation_limit if block.is_ablation and ablation_limit is not None else limit
            prompts = sets[block.prompt_set].prompts[:most]
            for chunk, start in enumerate(range(0, len(prompts), self.batch_size)):
                part = prompts[start : start + self.batch_size]
                for each in block.conditions:
                    batch = Batch(condition=each, prompt_set=block.prompt_set, prompts=part, chunk=chunk)
                    if rest := unfinished(batch, seen):
                        found.append(rest)
                        seen.update(rest.cases)
        return found


def unfinished(batch: Batch, finished: Set[str]) -> Batch | None:
    """What of a batch is still to do, or None."""
    left = tuple(p for p, case in zip(batch.prompts, batch.cases, strict=True) if case not in finished)
    return replace(batch, prompts=left) if left else None


def shard(batches: list[Batch], number: int, total: int) -> list[Batch]:
    """The part of one machine of ``total``, ``number`` from 1: whole chunks, so that pairs stay together."""
    return [b for b in batches if b.chunk % total == number - 1]
