"""What plaintext predictions and entries say about latents that are encrypted besides."""

import pytest
import torch

from sfumato.metrics.agreement import correlation
from sfumato.models.sampling import make_scheduler
from sfumato.protocols.homomorphic.disclosure import Seen, first_noise, last_latents
from sfumato.protocols.homomorphic.updates import linear_updates

NUM_STEPS = 20


def smooth(generator):
    return torch.nn.functional.interpolate(
        torch.randn(1, 4, 8, 8, generator=generator, dtype=torch.float64), scale_factor=4, mode="bilinear"
    )


def run_of(portraits, scheduler, is_public):
    """A run whose model always predicts one clean picture: the ideal of a denoiser that is sure."""
    generator = torch.Generator().manual_seed(0)
    updates = linear_updates(make_scheduler(portraits, scheduler), NUM_STEPS)
    clean, noise = smooth(generator), torch.randn(1, 4, 32, 32, generator=generator, dtype=torch.float64)
    latents, seen, predictions = noise / updates[0].input_scale, [], []
    for i, update in enumerate(updates):
        signal = update.scale * update.input_scale
        sigma = (1 - signal**2) ** 0.5
        read = latents * update.input_scale
        eps = (read - signal * clean) / sigma
        predictions.append(signal * eps - sigma * clean)
        public = is_public(i, latents)
        seen.append(Seen(prediction=predictions[-1], is_public=public, latent=torch.where(public, latents, 0.0)))
        latents = update.factor * latents + update.addend(predictions)
    return updates, seen, noise, latents


def none(_, latents):
    return torch.zeros_like(latents, dtype=torch.bool)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "euler"])
def test_predictions_alone_give_the_latents_of_a_sure_model(portraits, scheduler):
    updates, seen, first, last = run_of(portraits, scheduler, none)
    noise = first_noise(updates, seen, "v_prediction")
    assert correlation(noise, first) > 0.99
    assert correlation(last_latents(updates, seen, noise), last) > 0.97


def test_an_entry_that_is_public_once_is_known_in_all_steps(portraits):
    mask = torch.rand(1, 4, 32, 32, generator=torch.Generator().manual_seed(1)) < 0.2
    updates, seen, first, last = run_of(portraits, "dpm++", lambda i, _: mask & (i == 7))
    noise = first_noise(updates, seen, "v_prediction")
    found = last_latents(updates, seen, noise)
    assert torch.allclose(noise[mask], first[mask], rtol=0, atol=1e-4)
    assert torch.allclose(found[mask], last[mask], rtol=0, atol=1e-4)
    assert not torch.allclose(found[~mask], last[~mask], rtol=0, atol=1e-4)


def test_predictions_of_another_run_give_nothing(portraits):
    """Control: without what belongs to the run the estimate is no better than chance."""
    updates, seen, _, last = run_of(portraits, "ddim", none)
    generator = torch.Generator().manual_seed(5)
    order = torch.randperm(seen[0].prediction.numel(), generator=generator)
    shuffled = [
        Seen(
            prediction=one.prediction.flatten()[order].reshape(one.prediction.shape),
            is_public=one.is_public,
            latent=one.latent,
        )
        for one in seen
    ]
    found = last_latents(updates, shuffled, first_noise(updates, shuffled, "v_prediction"))
    assert abs(correlation(found, last)) < 0.1


@pytest.mark.parametrize("name", ["ddim", "dpm++", "euler"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "sample"])
def test_other_kinds_of_prediction(portraits, name, prediction_type):
    """Of a model that at first predicts noise alone, and then more and more of one picture."""
    scheduler = make_scheduler(portraits, name)
    scheduler.register_to_config(prediction_type=prediction_type)
    updates = linear_updates(scheduler, NUM_STEPS)
    generator = torch.Generator().manual_seed(2)
    clean, first = smooth(generator), torch.randn(1, 4, 32, 32, generator=generator, dtype=torch.float64)
    latents, seen, predictions = first / updates[0].input_scale, [], []
    for i, update in enumerate(updates):
        signal = update.scale * update.input_scale
        estimate = clean * i / (NUM_STEPS - 1)
        eps = (latents * update.input_scale - signal * estimate) / (1 - signal**2) ** 0.5
        predictions.append(eps if prediction_type == "epsilon" else estimate)
        seen.append(Seen(prediction=predictions[-1], is_public=none(0, latents), latent=torch.zeros_like(latents)))
        latents = update.factor * latents + update.addend(predictions)
    found = last_latents(updates, seen, first_noise(updates, seen, prediction_type))
    assert correlation(found, latents) > 0.99
    assert first.shape == found.shape


def test_refusals(portraits):
    updates, seen, *_ = run_of(portraits, "ddim", none)
    with pytest.raises(ValueError, match="a run of 20 steps, but 19 were seen"):
        first_noise(updates, seen[1:], "epsilon")
    with pytest.raises(ValueError, match="a model that predicts 'flow_prediction'"):
        first_noise(updates, seen, "flow_prediction")
