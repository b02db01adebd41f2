"""A guess that saw nothing is the best of those that saw nothing."""

import numpy as np
import torch

from sfumato.audit.blind import blind_pictures, stricter
from sfumato.audit.judging import Known, score_pictures
from sfumato.audit.made_runs import Truth
from sfumato.portraits import sample


def test_one_picture_for_all_beats_a_random_one_and_no_good_one(portraits):
    truth = np.stack([sample(np.random.default_rng(seed), size=128)[0] for seed in range(6)])
    known = Known(
        truth=Truth(prompts=(), attributes=(), latents=torch.zeros(6, 4, 32, 32), pictures=truth),
        model=portraits,
        candidates=None,
        outside=np.arange(128)[:, None].repeat(128, 1) < 64,
    )
    random = score_pictures(np.roll(truth, 1, axis=0), truth, known.outside)
    found = stricter(random, known)
    assert set(found) == {"psnr", "psnr outside", "attributes"}
    assert found["psnr"].mean() > random["psnr"].mean() + 1
    assert found["attributes"].mean() >= random["attributes"].mean()
    good = score_pictures(truth, truth, known.outside)
    assert all((stricter(good, known)[name] == good[name]).all() for name in good)


def test_each_metric_has_its_own(portraits):
    found = blind_pictures(portraits, (32, 32))
    assert set(found) == {"psnr", "attributes"}
    assert all(picture.shape == (1, 128, 128, 3) for picture in found.values())
