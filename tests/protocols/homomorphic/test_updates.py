import math
from itertools import pairwise

import diffusers
import pytest
import torch

from sfumato.errors import Unsupported
from sfumato.models.noise_levels import latent_scale, noise_levels
from sfumato.models.sampling import make_scheduler
from sfumato.protocols.homomorphic.updates import linear_updates, sigma_scales

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def made(kind, **changes):
    return getattr(diffusers, kind)(**BETAS, **changes)


SCHEDULERS = {
    "ddim": lambda: made("DDIMScheduler", clip_sample=False, set_alpha_to_one=False, steps_offset=1),
    "dpm++": lambda: made("DPMSolverMultistepScheduler"),
    "dpm++ third order": lambda: made("DPMSolverMultistepScheduler", solver_order=3, final_sigmas_type="sigma_min"),
    "dpm++ karras": lambda: made("DPMSolverMultistepScheduler", use_karras_sigmas=True),
    "euler": lambda: made("EulerDiscreteScheduler"),
    "plms": lambda: made("PNDMScheduler", skip_prk_steps=True, steps_offset=1),
}
FROM_V = {
    "ddim": lambda: made("DDIMScheduler", clip_sample=False, prediction_type="v_prediction"),
    "dpm++": lambda: made("DPMSolverMultistepScheduler", prediction_type="v_prediction"),
    "euler": lambda: made("EulerDiscreteScheduler", prediction_type="v_prediction"),
}


def trajectory(scheduler, num_steps):
    """Latents before each step and after the last, and the predictions: near what a denoiser would predict."""
    generator = torch.Generator().manual_seed(num_steps)
    scheduler.set_timesteps(num_steps)
    noise = torch.randn((1, 4, 8, 8), generator=generator)
    states, predictions = [noise * scheduler.init_noise_sigma], []
    for timestep in scheduler.timesteps:
        scheduler.scale_model_input(states[-1], timestep)
        predictions.append(noise + 0.1 * torch.randn(noise.shape, generator=generator))
        states.append(scheduler.step(predictions[-1], timestep, states[-1], return_dict=False)[0])
    return states, predictions


def assert_each_step_is_the_schedulers_own(make, num_steps):
    updates = linear_updates(make(), num_steps)
    states, predictions = trajectory(make(), num_steps)
    assert len(updates) == len(predictions)
    for i, update in enumerate(updates):
        x, expected, so_far = states[i].double(), states[i + 1].double(), predictions[: i + 1]
        size = max(1.0, float(expected.abs().max()))
        assert torch.allclose(update.factor * x + update.addend(so_far), expected, rtol=0, atol=1e-5 * size)
        y = update.sigma_factor * (x / update.scale) + update.sigma_addend(so_far)
        bound = 1e-5 * max(1.0, size / update.next_scale)
        assert torch.allclose(y, expected / update.next_scale, rtol=0, atol=bound)
    assert [u.next_scale for u in updates[:-1]] == [u.scale for u in updates[1:]]
    return updates, states, predictions


@pytest.mark.parametrize("num_steps", [1, 4, 20])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_steps_of_models_that_predict_noise(name, num_steps):
    updates, states, predictions = assert_each_step_is_the_schedulers_own(SCHEDULERS[name], num_steps)
    assert all(u.sigma_factor == pytest.approx(1, abs=1e-5) for u in updates), "a cloud only adds"
    total = states[0].double() / updates[0].scale
    for i, update in enumerate(updates):
        total += update.sigma_addend(predictions[: i + 1])
    expected = states[-1].double()
    size = max(1.0, float(expected.abs().max()))
    assert torch.allclose(total * updates[-1].next_scale, expected, rtol=0, atol=5e-5 * size)


@pytest.mark.parametrize("num_steps", [1, 4, 20])
@pytest.mark.parametrize("name", FROM_V)
def test_steps_of_models_that_predict_velocity(name, num_steps):
    assert_each_step_is_the_schedulers_own(FROM_V[name], num_steps)


def test_ddim_has_the_coefficients_of_the_formula():
    scheduler = SCHEDULERS["ddim"]()
    updates = linear_updates(scheduler, 10)
    scheduler.set_timesteps(10)
    signal = [float(scheduler.alphas_cumprod[t]) for t in scheduler.timesteps] + [float(scheduler.final_alpha_cumprod)]
    for i, update in enumerate(updates):
        now, after = signal[i], signal[i + 1]
        factor = (after / now) ** 0.5
        assert update.factor == pytest.approx(factor, rel=1e-5)
        assert update.coefficients[-1] == pytest.approx((1 - after) ** 0.5 - factor * (1 - now) ** 0.5, abs=1e-5)
        assert max(map(abs, update.coefficients[:-1]), default=0) < 1e-5
        sigma_step = (1 / after - 1) ** 0.5 - (1 / now - 1) ** 0.5
        assert update.coefficients[-1] / update.next_scale == pytest.approx(sigma_step, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", ["dpm++", "euler"])
def test_the_schedulers_of_the_bundled_model(name, portraits):
    assert_each_step_is_the_schedulers_own(lambda: make_scheduler(portraits, name), 8)


@pytest.mark.parametrize("name", ["ddim", "dpm++", "euler", "lcm"])
def test_differences_in_sigma_coordinates_need_no_linear_update(name, portraits):
    """The bundled model predicts velocity, its DDIM clips and LCM adds noise: the differences add up all the same."""
    scheduler = make_scheduler(portraits, name)
    states, _ = trajectory(scheduler, 8)
    scales = sigma_scales(scheduler)
    assert len(scales) == len(states)
    y = [x.double() / scale for x, scale in zip(states, scales, strict=True)]
    total = y[0] + sum(after - before for before, after in pairwise(y))
    assert torch.allclose(total * scales[-1], states[-1].double(), rtol=0, atol=1e-9)
    levels = noise_levels(scheduler)
    expected = [latent_scale(scheduler, i) / math.sqrt(1 + s * s) for i, s in enumerate(levels)]
    assert scales[:-1] == pytest.approx(expected, rel=1e-6)
    assert scales[-1] == pytest.approx(1, abs=1e-4)


def test_the_scheduler_is_left_as_it_is():
    scheduler = SCHEDULERS["dpm++"]()
    before = dict(scheduler.__dict__)
    linear_updates(scheduler, 5)
    assert scheduler.__dict__.keys() == before.keys()
    assert all(scheduler.__dict__[name] is value for name, value in before.items())


@pytest.mark.parametrize(
    "make",
    [
        lambda: made("DDIMScheduler", clip_sample=True),
        lambda: made("DDIMScheduler", clip_sample=False, thresholding=True),
        lambda: made("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++"),
        lambda: made("LCMScheduler"),
        lambda: made("DDPMScheduler", clip_sample=False),
        lambda: made("EulerAncestralDiscreteScheduler"),
    ],
    ids=["clipping", "thresholding", "sde", "lcm", "ddpm", "ancestral"],
)
def test_what_is_no_linear_update_is_found_out(make):
    with pytest.raises(Unsupported, match="use ddim, dpm\\+\\+, euler or plms"):
        linear_updates(make(), 4)


def test_flow_matching_and_no_signal_are_unsupported():
    with pytest.raises(Unsupported, match="of the flow-matching kind"):
        linear_updates(diffusers.FlowMatchEulerDiscreteScheduler(), 4)
    scheduler = made("DDIMScheduler", clip_sample=False, rescale_betas_zero_snr=True, timestep_spacing="trailing")
    with pytest.raises(Unsupported, match="no signal at all"):
        linear_updates(scheduler, 4)


def test_another_number_of_predictions():
    with pytest.raises(ValueError, match="the step combines 1 predictions, got 2"):
        linear_updates(SCHEDULERS["ddim"](), 3)[0].addend([torch.zeros(1, 1, 1, 1)] * 2)
