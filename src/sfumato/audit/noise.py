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
    """Replaces floating-point numbers by Gaussian ones of each tensor's mean and deviation, integers by a shuffle.

    Texts become letters of the same length. Sizes, times and other plain fields stay.

    Args:
        recording: with the tensors that the attack reads.
        seed: of the noise.
    """
    generator = seeded_generator(seed)

    def noise(tensor: Tensor | None) -> Tensor | None:
        if tensor is None or not tensor.numel():
            return tensor
        if not tensor.is_floating_point():
            return tensor.flatten()[torch.randperm(tensor.numel(), generator=generator)].view_as(tensor)
        values = tensor.double()
        drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        return (drawn * values.std(correction=0) + values.mean()).to(tensor.dtype)

    def letters(value: Any) -> Any:
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            return value
        return ["".join(ascii_lowercase[i] for i in torch.randint(26, (len(t),), generator=generator)) for t in value]

    def of(entry: Entry) -> Entry:
        return replace(
            entry,
            values={name: letters(value) for name, value in entry.values.items()},
            tensors={name: noise(tensor) for name, tensor in entry.tensors.items()},
        )

    transcripts = {
        name: Transcript(entries=tuple(map(of, told.entries)), is_truncated=told.is_truncated)
        for name, told in recording.transcripts.items()
    }
    return Recording(meta=recording.meta, transcripts=transcripts)
