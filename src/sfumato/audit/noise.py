"""The negative control: a run's transcript with noise in place of every number and text that was sent."""

from dataclasses import replace
from string import ascii_lowercase
from typing import Any

import torch
from torch import Tensor

from sfumato.randomness import seeded_generator
from sfumato.transport.recording import Recording
from sfumato.wire.transcript import Entry, Transcript


def noise_instead(recording: Recording, seed: int = 0) -> Recording:
    """Keeps the sizes and times of a run, and nothing of what it said.

    Floating-point numbers become Gaussian ones of each tensor's mean and deviation, integers that grow from one to the
    next (places) other places, other integers a shuffle, and texts letters.

    Args:
        recording: with the tensors that the attack reads.
        seed: of the noise.
    """
    generator = seeded_generator(seed)

    def of(entry: Entry) -> Entry:
        return replace(
            entry,
            values={name: _letters(value, generator) for name, value in entry.values.items()},
            tensors={name: _noise(tensor, generator) for name, tensor in entry.tensors.items()},
        )

    transcripts = {
        name: Transcript(entries=tuple(map(of, told.entries)), is_truncated=told.is_truncated)
        for name, told in recording.transcripts.items()
    }
    return Recording(meta=recording.meta, transcripts=transcripts)


def _noise(tensor: Tensor | None, generator: torch.Generator) -> Tensor | None:
    if tensor is None or not tensor.numel():
        return tensor
    if tensor.is_floating_point():
        values = tensor.double()
        drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        return (drawn * values.std(correction=0) + values.mean()).to(tensor.dtype)
    flat = tensor.flatten()
    if bool((flat.long().diff() > 0).all()):
        found = torch.randperm(int(flat[-1]) + 1, generator=generator)[: len(flat)].sort().values.to(tensor.dtype)
    else:
        found = flat[torch.randperm(len(flat), generator=generator)]
    return found.view_as(tensor)


def _letters(value: Any, generator: torch.Generator) -> Any:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        return value
    drawn = (torch.randint(len(ascii_lowercase), (len(text),), generator=generator) for text in value)
    return ["".join(ascii_lowercase[place] for place in places) for places in drawn]
