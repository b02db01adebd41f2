"""Decrypted values that go back to the cloud give the secret key away (Li and Micciancio 2021)."""

import pytest
import torch

from paper_runs import AT_THE_CLOUD, FULL, paper, run, view
from sfumato.attacks.homomorphic.key_recovery import KeyRecovery
from sfumato.errors import LacksInput
from sfumato.protocols.homomorphic.spec import Homomorphic

pytest.importorskip("tenseal")
FEW = FULL | {"num_inference_steps": 3}


def test_the_key_is_found_and_decrypts_the_last_latents(tiny_sd):
    made = run(tiny_sd, paper(selection="all", **AT_THE_CLOUD), **FULL)
    assert made.output.images.numel() == 4096
    guess = KeyRecovery().run(view(made, tiny_sd))
    assert guess.finding.startswith("all 8192 coefficients of the secret key; it decrypts 17 other ciphertexts to what")
    assert torch.allclose(guess.latents, made.output.images, atol=1e-5)


def test_a_full_ciphertext_is_enough_where_others_are_not(tiny_sd):
    """Three ciphertexts in two: the first of each step is full, though entries are in the clear."""
    arguments = FULL | {"num_images_per_prompt": 8}
    made = run(tiny_sd, paper(threshold=0.1, **AT_THE_CLOUD), **arguments)
    guess = KeyRecovery().run(view(made, tiny_sd))
    assert 4096 < guess.was_hidden.sum() < 8192
    assert torch.allclose(guess.latents, made.output.images, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "arguments", "sentence"),
    [
        (Homomorphic(), FEW, "mode=sealed, holds no latents"),
        (paper(selection="all"), FEW, "no two full ciphertexts whose decrypted values all went back"),
        (paper(threshold=0.1, **AT_THE_CLOUD), FEW, "no two full ciphertexts"),
        (paper(selection="all", **AT_THE_CLOUD), FULL | {"num_inference_steps": 2}, "no two full ciphertexts"),
        (paper(selection="all", parameters="one-level", **AT_THE_CLOUD), FEW, "too coarse for CKKS parameters 'one-l"),
    ],
    ids=["sealed", "nothing goes back", "ciphertexts are not full", "one goes back", "finer scale"],
)
def test_what_it_needs(tiny_sd, spec, arguments, sentence):
    with pytest.raises(LacksInput, match=sentence):
        KeyRecovery().run(view(run(tiny_sd, spec, **arguments), tiny_sd))
