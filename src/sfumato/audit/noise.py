"""The negative control: a run's transcript with noise in place of every number that was sent."""

from dataclasses import replace

import torch
from torch import Tensor

from sfumato.randomness import seeded_generator
from sfumato.transport.recording import Recording
from sfumato.wire.transcript import Entry, Transcript


def noise_instead(recording: Recording, seed: int = 0) -> Recording:
    """Replaces floating-point numbers by Gaussian ones of each tensor's mean and deviation, integers by a shuffle.

    Sizes, times and plain fields stay; so do texts, which are no tensors.

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

    def of(entry: Entry) -> Entry:
        return replace(entry, tensors={name: noise(tensor) for name, tensor in entry.tensors.items()})

    transcripts = {
        name: Transcript(entries=tuple(map(of, told.entries)), is_truncated=told.is_truncated)
        for name, told in recording.transcripts.items()
    }
    return Recording(meta=recording.meta, transcripts=transcripts)
