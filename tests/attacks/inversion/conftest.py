"""A tiny random diffusion model, and pictures that it can make."""

import pytest
import torch

from inverting_views import SIZE
from sfumato.attacks.draws import noise
from sfumato.attacks.inversion.latent_chain import latent_shape, load_chain, normalised
from sfumato.attacks.inversion.texts import PriorTexts


@pytest.fixture(scope="session")
def chain(tiny_sd):
    return load_chain(tiny_sd, sampling_steps=3, memory_gib=1.0)


@pytest.fixture(scope="session")
def no_words(tiny_sd):
    return PriorTexts(tiny_sd, SIZE, guided=False)


@pytest.fixture(scope="session")
def made(tiny_sd, no_words):
    """Makes pictures of the model from a seed, in one sampling step."""
    chain = load_chain(tiny_sd, sampling_steps=1, memory_gib=1.0)

    def make(count, seed=0):
        latents = noise(latent_shape(tiny_sd, SIZE), [f"secret {i}" for i in range(count)], seed)
        with torch.no_grad():
            return chain(normalised(latents), no_words.conditioning([""] * count, torch.device("cpu")))

    return make
