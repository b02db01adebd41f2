"""Finishing and decoding what was seen of latents, on a tiny model with random weights."""

from dataclasses import replace

import pytest
import torch

from sfumato.attacks.picture.clean_decode import CleanDecode
from sfumato.attacks.picture.conditional_mean import filled_in
from sfumato.attacks.picture.feature_descent import FeatureDescent, features_of
from sfumato.attacks.picture.finish_denoising import FinishDenoising, drawn_places
from sfumato.attacks.picture.inpainting import inpainted
from sfumato.attacks.picture.levels import Level, level_at, timesteps_of
from sfumato.attacks.picture.own_model import OwnModel, loaded
from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.seen.steps import by_step, chosen
from sfumato.audit.made_runs import RunMaker, view_of
from sfumato.audit.noise import noise_instead
from sfumato.errors import LacksInput
from sfumato.models.denoiser import Conditioning
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain

SAMPLES = 3


@pytest.fixture(scope="module")
def maker(tiny_sd):
    return RunMaker(model=tiny_sd, spec=Plain(), num_inference_steps=3, batch_size=2)


@pytest.fixture(scope="module")
def made(maker):
    attacks = FinishDenoising(), CleanDecode(), FeatureDescent()
    ((recording, truth),) = maker.victims(2, lambda kind, values: any(a.keeps(kind, values) for a in attacks))
    return recording, truth


@pytest.fixture(scope="module")
def view(maker, made):
    recording, truth = made
    return view_of(recording, maker, (0,), truth.pictures.shape[:3])


def error(guess, truth):
    return float((guess.latents - truth.latents).square().mean())


@pytest.mark.parametrize("attack", [FinishDenoising(samples=SAMPLES), CleanDecode(samples=SAMPLES)])
def test_of_a_whole_run_the_picture_follows_and_of_noise_it_does_not(attack, maker, made, view):
    recording, truth = made
    guess, prior = attack.run(view), attack.prior(view)
    assert error(guess, truth) < 1e-6
    assert error(prior, truth) > 0.1
    noise = view_of(noise_instead(recording), maker, (0,), truth.pictures.shape[:3])
    assert error(attack.run(noise), truth) > 0.5 * error(prior, truth)


def test_features_of_an_early_layer_lead_to_the_picture_and_noise_does_not(maker, made):
    recording, truth = made
    attack = FeatureDescent(layer="down_blocks.0.resnets.0.norm1", iterations=30, samples=SAMPLES)
    shape = truth.pictures.shape[:3]
    view = view_of(recording, maker, (0,), shape)
    prior = error(attack.prior(view), truth)
    assert error(attack.run(view), truth) < 0.5 * prior
    assert error(attack.run(view_of(noise_instead(recording), maker, (0,), shape)), truth) > 0.8 * prior


def test_computing_stops_at_the_layer(tiny_sd):
    unet = loaded(tiny_sd)
    words = Conditioning(prompt_embeds=torch.zeros(1, 77, unet.config.cross_attention_dim))
    calls = []
    with unet.conv_out.register_forward_pre_hook(lambda *_: calls.append(1)):
        found = features_of(unet, "conv_in", torch.ones(1, 4, 16, 16), torch.tensor(1.0), words)
    assert torch.equal(found, torch.ones(1, 4, 16, 16))
    assert not calls


def test_an_earlier_step_tells_less(view, made):
    _, truth = made
    errors = [error(CleanDecode(step=step, samples=SAMPLES).run(view), truth) for step in (0, 1, -1)]
    assert errors == sorted(errors, reverse=True)


def test_a_strip_stays_as_it_was_seen_and_the_rest_is_filled_in(view, made):
    _, truth = made
    steps = by_step(reader_of(view).latents(view))
    height = steps[0].values.shape[2]
    known = (torch.arange(height) < height // 2)[:, None].expand(-1, steps[0].values.shape[3])
    seen = {each.step: replace(each, values=each.values * known, known=known) for each in steps}
    clean = CleanDecode(samples=SAMPLES).run(view).latents

    def finds(noisy, timestep):
        return clean

    found = inpainted(
        view.model,
        finds,
        timesteps_of(view),
        seen,
        torch.randn(clean.shape, generator=torch.Generator().manual_seed(9)),
        resamplings=2,
        generator=torch.Generator().manual_seed(8),
    )
    assert torch.equal(found, clean)
    guess = FinishDenoising(samples=SAMPLES)._filled_in(view, OwnModel.of(view), list(seen.values()))
    inside = (guess - truth.latents)[:, :, : height // 2].square().mean()
    outside = (guess - truth.latents)[:, :, height // 2 :].square().mean()
    assert inside < 0.5 * outside


def test_resampling_has_a_least_number(view):
    with pytest.raises(ValueError, match="resamplings must be at least 1"):
        inpainted(
            view.model, lambda *_: None, [1.0], {}, torch.zeros(1, 4, 2, 2), resamplings=0, generator=torch.Generator()
        )


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_every_kind_of_prediction_gives_the_clean_latent(kind):
    clean, noise = torch.randn(2, 1, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    level = Level(signal=0.6, noise=0.8, prediction_type=kind)
    told = {"epsilon": noise, "v_prediction": 0.6 * noise - 0.8 * clean, "sample": clean}[kind]
    noisy = level.noised(clean, noise)
    assert torch.allclose(level.clean(noisy, told), clean, atol=1e-5)
    assert torch.allclose(level.noise_of(noisy, clean), noise, atol=1e-5)


def test_levels_lie_on_a_line_between_whole_timesteps(tiny_sd):
    low, high = level_at(tiny_sd, 4.0), level_at(tiny_sd, 5.0)
    assert low.signal > level_at(tiny_sd, 4.5).signal > high.signal


def test_the_conditional_mean_keeps_what_is_known_and_follows_correlated_cells():
    generator = torch.Generator().manual_seed(5)
    own = torch.randn(40, 1, 1, 1, generator=generator).expand(-1, 2, 4, 4) + 0.1 * torch.randn(
        40, 2, 4, 4, generator=generator
    )
    victim = torch.full((1, 2, 4, 4), 1.5)
    known = torch.zeros(4, 4, dtype=torch.bool)
    known[:2] = True
    guess = filled_in(victim * known, known, own)
    assert torch.equal(guess[:, :, :2], victim[:, :, :2])
    assert (guess[:, :, 2:] - 1.5).abs().max() < 1
    assert torch.allclose(filled_in(victim, torch.zeros_like(known), own), own.mean(0, keepdim=True), atol=1e-6)


def test_steps_that_were_not_seen_are_refused(view):
    steps = by_step(reader_of(view).latents(view))
    assert chosen(steps, -2).step == 1
    with pytest.raises(LacksInput, match="step 9 was not seen"):
        chosen(steps, 9)
    with pytest.raises(LacksInput, match="before its first step"):
        chosen([], 0)


def test_attacks_say_what_they_lack(tiny_sd, view):
    maker = RunMaker(model=tiny_sd, spec=LayerSplit(num_clouds=2, offload=frozenset({"norm"})), num_inference_steps=1)
    ((recording, truth),) = maker.victims(1, lambda kind, values: False)
    other = view_of(recording, maker, (0,), truth.pictures.shape[:3])
    with pytest.raises(LacksInput):
        FinishDenoising().run(other)
    with pytest.raises(LacksInput, match="the run's steps"):
        FinishDenoising().prior(replace(view, settings=None))


def test_candidates_are_drawn_from_lists_of_any_length():
    drawn = [drawn_places([2, 5, 30], seed) for seed in range(200)]
    assert drawn == [drawn_places([2, 5, 30], seed) for seed in range(200)]
    for place, size in enumerate((2, 5, 30)):
        found = {each[place] for each in drawn}
        # All 200 draws miss one of 30 with a chance of 3 percent; the seeds are fixed.
        assert found <= set(range(size))
        assert len(found) >= min(size, 25)
