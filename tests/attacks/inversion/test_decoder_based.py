"""The decoder-based attack finds what the decoder can make."""

from dataclasses import replace

import torch

from inverting_views import TwoTensors, view_of, whole_picture
from sfumato.attacks.inversion.decoder_based import DecoderBased
from sfumato.attacks.inversion.harness import clipped, invert, prior_draws
from sfumato.attacks.inversion.watch import Watch
from sfumato.metrics.pictures import psnr


def test_features_of_the_identity_cut_give_the_picture(made, tiny_sd):
    pictures = made(3)
    guess = DecoderBased(iterations=250, feature_norm="sum").run(view_of(pictures, whole_picture, tiny_sd))
    assert psnr(clipped(guess.pictures), clipped(pictures)).min() >= 35


def test_features_of_noise_give_no_more_than_the_prior(made, tiny_sd):
    """False failures: six pictures made from noise would have to be 1 dB nearer than the mean of many."""
    pictures = made(6)
    noise = torch.rand(pictures.shape, generator=torch.Generator().manual_seed(1))
    view = view_of(pictures, whole_picture, tiny_sd, features=(noise,))
    method = DecoderBased(iterations=40)
    found = invert(method, view, clipped(pictures), prior_draws(method, view, 1))
    assert next(score for score in found.scores if score.metric == "psnr").leakage.mean() <= 1.0


def test_the_prior_is_one_picture_nearer_than_the_noise_that_it_starts_from(made, tiny_sd):
    pictures = made(4)
    view = view_of(pictures, whole_picture, tiny_sd)
    start, prior = DecoderBased(iterations=1).run(view).pictures, DecoderBased().prior_only(view, 0)
    assert torch.equal(prior[0], prior[3])
    assert psnr(clipped(prior), clipped(pictures)).mean() > psnr(clipped(start), clipped(pictures)).mean()


def test_a_batch_equals_its_pictures_one_by_one_and_a_stopped_run_goes_on(tmp_path, made, tiny_sd):
    view, brief = view_of(made(2), TwoTensors(), tiny_sd), DecoderBased(iterations=6, feature_norm="sum")
    whole = brief.run(view)
    apart = replace(brief, batch_size=1).run(view)
    torch.testing.assert_close(whole.pictures, apart.pictures, atol=1e-4, rtol=0)
    replace(brief, iterations=3).run(view, Watch(folder=tmp_path))
    assert torch.equal(brief.run(view, Watch(folder=tmp_path)).pictures, whole.pictures)


def test_frames_are_held_together(made, tiny_sd):
    """Far apart when each is alone, near when the weight of their spread is large."""

    def apart(weight):
        guess = DecoderBased(iterations=25, frame_weight=weight).run(
            view_of(made(2), TwoTensors(), tiny_sd, num_frames=2)
        )
        return (guess.pictures[0] - guess.pictures[1]).square().mean()

    assert apart(1e6) < 0.1 * apart(0.0)
