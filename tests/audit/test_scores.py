"""Scores of guesses: the worst, the best, and what cannot be judged."""

import numpy as np
import pytest
import torch

from sfumato.audit.scores import scores


def latents(seed):
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def pictures(value):
    return np.full((1, 16, 16, 3), value, dtype=np.uint8)


def test_hidden_entries_are_judged_apart():
    truth, guess = latents(1), latents(1)
    hidden = torch.zeros(truth.shape, dtype=torch.bool)
    hidden[:, :2] = True
    guess[hidden] = -guess[hidden]
    found = scores(guess, hidden, pictures(0), latents=truth, truth=pictures(255))
    assert found.hidden_correlation == pytest.approx(-1)
    assert -1 < found.correlation < 1
    assert found.psnr_db == pytest.approx(0)


def test_pictures_that_agree_have_a_number():
    hidden = torch.zeros(1, 4, 8, 8, dtype=torch.bool)
    found = scores(latents(0), hidden, pictures(7), latents=latents(0), truth=pictures(7))
    assert (found.psnr_db, found.hidden_correlation) == (100.0, None)
    assert found.correlation == pytest.approx(1)


def test_without_truth_nothing_is_judged():
    hidden = torch.zeros(1, 4, 8, 8, dtype=torch.bool)
    found = scores(latents(0), hidden, pictures(0), latents=None, truth=None)
    assert set(found.to_dict().values()) == {None}


def test_truth_of_another_run():
    hidden = torch.zeros(1, 4, 8, 8, dtype=torch.bool)
    with pytest.raises(ValueError, match="the secrets are of latents of shape"):
        scores(latents(0), hidden, pictures(0), latents=latents(0).expand(2, -1, -1, -1), truth=None)
    with pytest.raises(ValueError, match="the true pictures are of shape"):
        scores(latents(0), hidden, pictures(0), latents=None, truth=pictures(0)[:, :8])
