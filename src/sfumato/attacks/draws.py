"""The attacker's own random numbers: one generator a picture, so that a batch equals its pictures one by one."""

import hashlib

import torch

from sfumato.models.sampling import initial_latents
from sfumato.randomness import seeded_generator
from sfumato.tensors import Latent

_BYTES = 7
"""Of a hash that make a seed below 2**63."""


def noise(shape: tuple[int, int, int], places: list[str], seed: int) -> Latent:
    """Unit Gaussian latents, one for each place; equal places have equal noise.

    Args:
        shape: of one latent.
        places: what each latent is for, such as "start 3".
        seed: of the attack.
    """
    return initial_latents((len(places), *shape), [generator_for(place, seed) for place in places], torch.float32)


def generator_for(place: str, seed: int) -> torch.Generator:
    """A generator of its own for each use of a seed."""
    digest = hashlib.sha256(f"{seed}/{place}".encode()).digest()
    return seeded_generator(int.from_bytes(digest[:_BYTES]))
