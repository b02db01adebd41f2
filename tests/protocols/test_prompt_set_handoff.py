"""The hand-off: exact where both sides agree, at the nearest noise level where they do not, and refused otherwise."""

from dataclasses import replace

import pytest
import torch

from prompt_set_runs import STEPS, Runs, assert_close, difference, rows
from sfumato.errors import Unsupported
from sfumato.models.denoiser import predict
from sfumato.models.entry import Entry, PreviousOutput
from sfumato.models.folder import find_architecture
from sfumato.models.noise_levels import latent_scale, nearest_level, noise_levels, schedule_hash
from sfumato.models.sampling import SCHEDULERS, Sampling, make_scheduler, sample
from sfumato.protocols.prompt_set.acceleration import Acceleration
from sfumato.protocols.prompt_set.handoff import Receiver, entry_of, hand_off
from sfumato.protocols.prompt_set.server_stage import CandidateRun, run_candidates

K, FACTOR = 2, 0.18215


@pytest.fixture(scope="module")
def runs(tiny_sd):
    return Runs(tiny_sd)


ONE_CALL = [name for name in SCHEDULERS if name != "plms"]
"""Schedulers that come to each timestep once."""


def sampling(runs, scheduler, steps=STEPS, **values):
    given = {"noise": runs.noise, "guidance_scale": 1.0} | values
    scheduler = make_scheduler(runs.model, scheduler)
    return Sampling(scheduler=scheduler, conditioning=rows(runs.prompts, [0]), num_inference_steps=steps, **given)


def denoiser(runs):
    def denoise(latent, timestep, conditioning):
        with torch.no_grad():
            return predict(runs.unet, latent, timestep, conditioning)

    return denoise


def whole(runs, scheduler, **values):
    """The latents after each step of an uninterrupted run."""
    generator = torch.Generator().manual_seed(1)
    return [s.latents for s in sample(denoiser(runs), sampling(runs, scheduler, generator=generator, **values))]


def left(runs, scheduler, kind="restart", steps=STEPS, num_done=K):
    """What a server leaves after some steps."""
    server = sampling(runs, scheduler, steps, generator=torch.Generator().manual_seed(1))
    done = zip(range(num_done), sample(denoiser(runs), server), strict=False)
    latents = [step.latents for _, step in done][-1]
    return hand_off(server.scheduler, latents, num_done, scaling_factor=FACTOR, kind=kind)


def receiver(runs, name="dpm++", steps=STEPS, **changed):
    given = Receiver(
        scheduler=make_scheduler(runs.model, name),
        num_inference_steps=steps,
        num_channels=4,
        scaling_factor=FACTOR,
    )
    return replace(given, **changed)


def finished(runs, handoff, scheduler, steps=STEPS, generator=None):
    """What a client makes of it: first and last step."""
    entry = entry_of(handoff, receiver(runs, scheduler, steps))
    run = sampling(runs, scheduler, steps, noise=handoff.latents, entry=entry, generator=generator)
    done = list(sample(denoiser(runs), run))
    return done[0], done[-1]


@pytest.mark.parametrize("scheduler", ["ddim", "euler"])
def test_one_schedule_cut_in_two_is_the_whole(runs, scheduler):
    first, last = finished(runs, left(runs, scheduler), scheduler)
    assert first.index == K
    assert last.index == STEPS - 1
    assert_close(last.latents, whole(runs, scheduler)[-1])


def test_lcm_cut_in_two_is_the_whole_with_the_noise_of_its_later_steps(runs):
    generator = torch.Generator().manual_seed(1)
    for _ in range(K):
        torch.randn(runs.noise.shape, generator=generator)
    _, last = finished(runs, left(runs, "lcm"), "lcm", generator=generator)
    assert_close(last.latents, whole(runs, "lcm")[-1])


def test_a_multistep_solver_goes_on_exactly_from_shipped_history_and_restarts_without(runs):
    exact = whole(runs, "dpm++")[-1]
    _, shipped = finished(runs, left(runs, "dpm++", "ship-history"), "dpm++")
    assert_close(shipped.latents, exact)
    _, restarted = finished(runs, left(runs, "dpm++"), "dpm++")
    assert 1e-6 < difference(restarted.latents, exact) < 0.5


def test_a_candidate_from_the_servers_set_is_finished_as_if_it_had_been_run_alone(runs):
    server = CandidateRun(
        scheduler=make_scheduler(runs.model, "dpm++"),
        noise=runs.noise,
        prompts=rows(runs.prompts, [1, 0, 2]),
        negative=None,
        num_inference_steps=STEPS,
        guidance_scale=1.0,
        acceleration=Acceleration.none(K),
    )
    latents = run_candidates(runs.unet, server)
    handoff = hand_off(server.scheduler, latents, K, scaling_factor=FACTOR, kind="ship-history")
    _, last = finished(runs, handoff.only(1), "dpm++")
    assert_close(last.latents, whole(runs, "dpm++")[-1])


@pytest.mark.parametrize("steps", [4, 15])
def test_history_from_another_schedule_keeps_its_own_noise_level(runs, steps):
    handoff = left(runs, "dpm++", "ship-history")
    client = receiver(runs, steps=steps)
    entry = entry_of(handoff, client)
    run = sampling(runs, "dpm++", steps, noise=handoff.latents, entry=entry)
    next(sample(denoiser(runs), run))
    assert float(run.scheduler.sigmas[entry.step - 1]) == pytest.approx(handoff.previous.sigma)
    assert_close(run.scheduler.model_outputs[0], handoff.previous.clean)


@pytest.mark.parametrize("server", ONE_CALL)
@pytest.mark.parametrize("client", ONE_CALL)
def test_any_scheduler_goes_on_from_any_other(runs, server, client):
    handoff = left(runs, server)
    first, last = finished(runs, handoff, client, 7)
    levels = noise_levels(scheduled(runs, client, 7))
    assert abs(torch.tensor(levels).log() - torch.tensor(handoff.sigma).log()).argmin() == first.index
    assert last.index == 6
    assert torch.isfinite(last.latents).all()


@pytest.mark.parametrize("scheduler", ONE_CALL)
def test_latents_are_handed_over_as_the_unet_sees_them(runs, scheduler):
    """Of pure signal and noise they hold the share that the noise level says, whatever the scheduler's own scale."""
    made = scheduled(runs, scheduler, STEPS)
    sigma = noise_levels(made)[K]
    own = torch.full((1, 4, 2, 2), latent_scale(made, K))
    given = hand_off(made, own, K, scaling_factor=FACTOR)
    assert_close(given.latents, torch.ones(1, 4, 2, 2))
    assert given.sigma == sigma
    if hasattr(made, "set_begin_index"):
        made.set_begin_index(K)
    assert_close(made.scale_model_input(own, made.timesteps[K]), given.latents)


def scheduled(runs, scheduler, steps):
    made = make_scheduler(runs.model, scheduler)
    made.set_timesteps(steps)
    return made


@pytest.mark.parametrize("scheduler", ONE_CALL)
def test_noise_levels_are_those_of_the_trained_schedule(runs, scheduler):
    made = scheduled(runs, scheduler, 20)
    signal = make_scheduler(runs.model, "ddim").alphas_cumprod[made.timesteps.round().long()]
    # Between whole timesteps a level differs from the nearest one's by half a percent at most.
    torch.testing.assert_close(torch.tensor(noise_levels(made)), ((1 - signal) / signal).sqrt(), rtol=5e-3, atol=0)


def test_four_of_eight_lcm_steps_on_sdxl_lead_to_step_twelve_of_twenty_five():
    """The index that the paper found by tuning a shift: 4 + 8."""
    model = find_architecture("sdxl")
    server, client = make_scheduler(model, "lcm"), make_scheduler(model, "dpm++")
    server.set_timesteps(8)
    client.set_timesteps(25)
    assert int(server.timesteps[4]) == 499
    assert nearest_level(client, noise_levels(server)[4]) == 12


def test_only_one_candidate_is_kept(runs):
    handoff = left(runs, "dpm++", "ship-history")
    both = replace(
        handoff,
        latents=torch.cat([handoff.latents, 2 * handoff.latents]),
        previous=replace(handoff.previous, clean=torch.cat([handoff.latents, 3 * handoff.latents])),
    )
    kept = both.only(1)
    assert torch.equal(kept.latents, 2 * handoff.latents)
    assert torch.equal(kept.previous.clean, 3 * handoff.latents)
    assert (kept.sigma, kept.schedule_hash) == (handoff.sigma, handoff.schedule_hash)
    with pytest.raises(ValueError, match="there are 2 candidates, none at index 2"):
        both.only(2)


def test_the_schedule_hash_names_training_and_not_steps(runs, tiny_sdxl):
    hashes = {schedule_hash(make_scheduler(runs.model, name)) for name in SCHEDULERS}
    assert len(hashes) == 1
    other = make_scheduler(runs.model, "ddim")
    changed = type(other).from_config(other.config, beta_end=0.02)
    assert schedule_hash(changed) not in hashes


# refused


def other_betas(runs):
    own = make_scheduler(runs.model, "ddim")
    return {"scheduler": type(own).from_config(own.config, beta_end=0.02)}


def other_prediction(runs):
    own = make_scheduler(runs.model, "ddim")
    return {"scheduler": type(own).from_config(own.config, prediction_type="v_prediction")}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (other_prediction, "predicts epsilon, the client's v_prediction"),
        (other_betas, "noise schedules differ"),
        (lambda _: {"scaling_factor": 0.13025}, "scaling factor is 0.18215, the client's 0.13025"),
        (lambda _: {"num_channels": 16}, "4 channels came, the client's has 16"),
    ],
)
def test_a_client_that_does_not_fit_is_refused(runs, changed, sentence):
    with pytest.raises(ValueError, match=rf"^the client's model cannot go on .*{sentence}$"):
        entry_of(left(runs, "ddim"), receiver(runs, **changed(runs)))


def test_all_problems_are_said_together(runs):
    with pytest.raises(ValueError, match=r"predicts epsilon.*; their latent spaces differ"):
        entry_of(left(runs, "ddim"), receiver(runs, num_channels=8, **other_prediction(runs)))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"latents": torch.full((1, 4, 8, 8), torch.nan)}, "values that are not numbers"),
        ({"sigma": 0.0}, "noise level is not a positive number"),
        ({"previous": PreviousOutput(clean=torch.zeros(1, 4, 4, 4), sigma=9.0)}, "not of the latents' shape"),
        ({"previous": PreviousOutput(clean=torch.zeros(1, 4, 8, 8), sigma=1e-3)}, "not from a higher noise level"),
    ],
    ids=["nan", "sigma", "shape", "order"],
)
def test_damaged_latents_are_refused(runs, changed, sentence):
    with pytest.raises(ValueError, match=sentence):
        entry_of(replace(left(runs, "ddim"), **changed), receiver(runs))


def test_history_is_refused_where_nothing_is_remembered(runs):
    with pytest.raises(ValueError, match="DDIMScheduler remembers no previous output: use the scheduler dpm"):
        left(runs, "ddim", "ship-history")
    with pytest.raises(ValueError, match="EulerDiscreteScheduler remembers no previous output"):
        finished(runs, left(runs, "dpm++", "ship-history"), "euler")
    with pytest.raises(ValueError, match="before which nothing can be remembered"):
        finished(runs, left(runs, "dpm++", "ship-history", num_done=1), "dpm++", steps=2)


@pytest.mark.parametrize("num_done", [0, STEPS])
def test_both_sides_have_steps_to_do(runs, num_done):
    made = scheduled(runs, "ddim", STEPS)
    with pytest.raises(ValueError, match=f"between 1 and 5 of its 6 steps, got {num_done}"):
        hand_off(made, runs.noise, num_done, scaling_factor=FACTOR)


@pytest.mark.parametrize("step", [-1, STEPS])
def test_a_run_begins_at_one_of_its_steps(runs, step):
    with pytest.raises(ValueError, match="begin at one of its steps 0 to 5"):
        next(sample(denoiser(runs), sampling(runs, "ddim", entry=Entry(step=step))))


def test_schedulers_that_repeat_timesteps_have_no_noise_levels(runs):
    from diffusers import HeunDiscreteScheduler

    heun = HeunDiscreteScheduler.from_config(make_scheduler(runs.model, "ddim").config)
    heun.set_timesteps(5)
    with pytest.raises(Unsupported, match="runs a timestep more than once"):
        noise_levels(heun)
