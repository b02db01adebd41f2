"""The server's steps: exact without savings, and each saving changes what it should and only that."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import nn

from prompt_set_runs import STEPS, Runs, assert_close, conditioning, difference, rows
from sfumato.models.denoiser import predict
from sfumato.models.layers import sharing_copy
from sfumato.models.sampling import SCHEDULERS, make_scheduler
from sfumato.protocols.prompt_set.acceleration import Acceleration, Now, Work
from sfumato.protocols.prompt_set.attention_cache import cache_attention
from sfumato.protocols.prompt_set.block_skip import skip_blocks
from sfumato.protocols.prompt_set.map_reuse import attend_with_pivots, reuse_maps
from sfumato.protocols.prompt_set.server_stage import CandidateRun, run_candidates

K = 4
EXACT = Acceleration.none(K)
REUSE = Acceleration(num_steps=K, cache_from=K, skip_from=K)
CACHE = Acceleration(num_steps=K, cache_from=2, skip_from=K, reuse_maps=False)
SKIP = Acceleration(num_steps=K, cache_from=3, skip_from=3, reuse_maps=False, cache_at_skipped_steps=False)
ALL = Acceleration(num_steps=5, cache_from=3, skip_from=3)


@pytest.fixture(scope="module")
def sd(tiny_sd):
    return Runs(tiny_sd)


@pytest.fixture(scope="module")
def sdxl(tiny_sdxl):
    return Runs(tiny_sdxl)


@pytest.fixture(params=["sd", "sdxl"])
def runs(request):
    return request.getfixturevalue(request.param)


@contextmanager
def counted_calls(unet):
    """Rows with which each layer was called, by path."""
    calls: dict[str, list[int]] = {}

    def watch(path, module):
        def hook(module, args, kwargs):
            given = args[0] if args else kwargs["hidden_states"]
            calls.setdefault(path, []).append(len(given))

        return module.register_forward_pre_hook(hook, with_kwargs=True)

    hooks = [watch(*named) for named in unet.named_modules() if named[0]]
    yield calls
    for hook in hooks:
        hook.remove()


# exactness


@pytest.mark.parametrize("is_guided", [True, False], ids=["guided", "unguided"])
def test_without_savings_a_set_equals_its_members_alone(runs, is_guided):
    together = runs(EXACT, is_guided=is_guided)
    alone = torch.cat([runs(EXACT, [i], is_guided=is_guided) for i in range(3)])
    assert_close(together, alone)
    assert difference(together[:1], together[1:2]) > 1e-3, "the prompts must matter"


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_set_equals_its_members_alone_under_every_scheduler(sd, scheduler):
    together = sd(EXACT, scheduler=scheduler)
    assert_close(together, torch.cat([sd(EXACT, [i], scheduler=scheduler) for i in range(3)]))


def test_noise_added_on_the_way_is_shared_without_a_generator_too(sd):
    run = CandidateRun(
        scheduler=None,
        noise=sd.noise,
        prompts=rows(sd.prompts, [0, 0]),
        negative=None,
        num_inference_steps=STEPS,
        guidance_scale=1.0,
        acceleration=EXACT,
    )
    first, second = run_candidates(sd.unet, replace(run, scheduler=make_scheduler(sd.model, "lcm")))
    assert_close(first, second)


def test_the_negative_half_of_the_first_step_is_one_row_and_exact(runs):
    with counted_calls(runs.unet) as calls:
        # The run's copy of the module tree shares the hooks with the U-Net given here.
        together = runs(EXACT)
    assert set(calls["conv_out"][:1]) == {4}
    assert set(calls["conv_out"][1:]) == {6}
    two_rows_each = torch.cat([runs(EXACT, [i]) for i in range(3)])  # 1 + 1 rows: nothing is left out
    assert_close(together, two_rows_each)


@pytest.mark.parametrize(
    "acceleration",
    [
        Acceleration(num_steps=K, cache_from=1, skip_from=K, reuse_maps=False, refresh_every=1),
        Acceleration(num_steps=K, cache_from=K, skip_from=K, reuse_maps=False, refresh_every=3),
        Acceleration(num_steps=K, cache_from=2, skip_from=K, reuse_maps=False, refresh_every=1),
    ],
    ids=["refreshed every step", "cache and skip never reached", "refreshed every step, later"],
)
def test_savings_that_never_apply_are_exact(sd, acceleration):
    assert torch.equal(sd(acceleration), sd(EXACT))


def test_reuse_is_exact_for_one_candidate(runs):
    assert_close(runs(REUSE, [1]), runs(EXACT, [1]))


def test_reuse_is_exact_for_identical_prompts(runs):
    assert_close(runs(REUSE, [1, 1, 1]), runs(EXACT, [1, 1, 1]))


def test_reuse_is_exact_for_the_pivot(runs):
    reused, exact = runs(REUSE), runs(EXACT)
    assert_close(reused[:1], exact[:1])
    assert 1e-5 < difference(reused[1:], exact[1:]) < 1


@pytest.mark.parametrize("acceleration", [CACHE, SKIP, ALL], ids=["cache", "skip", "all"])
def test_savings_are_close_and_different(runs, acceleration):
    assert 1e-5 < difference(runs(acceleration), runs(EXACT)) < 1


@pytest.mark.parametrize("acceleration", [CACHE, SKIP], ids=["cache", "skip"])
def test_cache_and_skip_do_not_mix_candidates(runs, acceleration):
    together = runs(acceleration)
    assert_close(together, torch.cat([runs(acceleration, [i]) for i in range(3)]))


@pytest.mark.parametrize(
    "acceleration",
    [
        Acceleration(num_steps=3, cache_from=1, skip_from=3, reuse_maps=False),
        Acceleration(num_steps=3, cache_from=1, skip_from=1, reuse_maps=False),
    ],
    ids=["cache", "skip"],
)
def test_what_the_first_step_kept_serves_all_rows(runs, acceleration):
    """The first step keeps one row of the negative half, which the second one needs for each candidate."""
    assert_close(runs(acceleration), torch.cat([runs(acceleration, [i]) for i in range(3)]))


def test_savings_change_nothing_before_they_begin(sd):
    """Up to the step at which they begin, and with it, all is exact."""
    first = Acceleration(num_steps=2, cache_from=2, skip_from=2, reuse_maps=False)
    assert torch.equal(sd(first), sd(Acceleration.none(2)))


def test_the_callers_unet_stays_as_it_was(sd):
    before = {path: module.__dict__.get("forward") for path, module in sd.unet.named_modules()}
    sd(ALL)
    assert {path: module.__dict__.get("forward") for path, module in sd.unet.named_modules()} == before


def test_two_runs_in_turn_do_not_meet(sd):
    first = sd(ALL)
    sd(CACHE, [2])
    assert torch.equal(sd(ALL), first)


# each saving alone, on one call of the U-Net


@pytest.fixture(scope="module")
def call(sd):
    """One call on two candidates, without guidance."""
    text = rows(sd.prompts, [0, 1])
    latent = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))

    def call(unet, at=500):
        return predict(unet, latent, torch.tensor(at), text)

    return call


def test_reuse_computes_q_and_k_once_and_v_for_all(sd, call):
    unet, now = sharing_copy(sd.unet), Now(groups=(2,), work=Work(reuses_maps=True))
    reuse_maps(unet, now)
    with counted_calls(unet) as calls, torch.no_grad():
        call(unet)
    for name, num_rows in (("to_q", 1), ("to_k", 1), ("to_v", 2), ("to_out.0", 2)):
        seen = [n for path, ns in calls.items() if path.endswith(name) for n in ns]
        assert set(seen) == {num_rows}
    now.work = Work()
    with torch.no_grad():
        assert torch.equal(call(unet), call(sd.unet))


def test_reuse_is_attention_with_the_pivots_map():
    generator = torch.Generator().manual_seed(2)
    layer = Attention(query_dim=12, cross_attention_dim=10, heads=3, dim_head=4).requires_grad_(False)
    hidden = torch.randn(5, 9, 12, generator=generator)
    text = torch.randn(5, 6, 10, generator=generator)
    query, key, value = layer.to_q(hidden), layer.to_k(text), layer.to_v(text)

    def heads(x):
        return x.reshape(*x.shape[:2], 3, 4).transpose(1, 2)

    maps = (heads(query) @ heads(key).transpose(-1, -2) / 2).softmax(-1)
    maps = maps[[0, 0, 2, 2, 2]]
    wanted = layer.to_out[0]((maps @ heads(value)).transpose(1, 2).reshape(5, 9, 12))
    torch.testing.assert_close(attend_with_pivots(layer, hidden, text, (2, 3)), wanted)


def test_kept_attention_calls_no_projection(sd, call):
    unet, now = sharing_copy(sd.unet), Now(groups=(2,), work=Work(keeps_attention=True))
    cache_attention(unet, now)
    with torch.no_grad():
        first = call(unet)
        assert torch.equal(first, call(sd.unet)), "keeping changes nothing"
        now.work = Work(uses_kept_attention=True)
        with counted_calls(unet) as calls:
            assert torch.equal(call(unet), first), "the same call gives the same"
        assert difference(call(unet, at=100), call(sd.unet, at=100)) > 1e-6
    assert not [path for path in calls if ".to_q" in path or ".to_out" in path]
    assert [path for path in calls if path.endswith("ff")], "the rest of each block still runs"


def test_a_skipped_step_runs_the_up_path_alone(sd, call):
    unet, now = sharing_copy(sd.unet), Now(groups=(2,), work=Work(keeps_blocks=True))
    skip_blocks(unet, now)
    with torch.no_grad():
        first = call(unet)
        assert torch.equal(first, call(sd.unet)), "keeping changes nothing"
        now.work = Work(uses_kept_blocks=True)
        with counted_calls(unet) as calls:
            assert torch.equal(call(unet), first), "the same call gives the same"
        assert difference(call(unet, at=100), call(sd.unet, at=100)) > 1e-6
    computing = [path for path, module in unet.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    inside = {path.split(".")[0] for path in computing if path in calls and "." in path}
    assert inside == {"time_embedding", "up_blocks"}


def test_a_height_that_is_not_a_multiple_of_the_blocks_can_be_skipped(sd):
    odd = torch.randn(2, 4, 18, 22, generator=torch.Generator().manual_seed(3))
    unet, now = sharing_copy(sd.unet), Now(groups=(2,), work=Work(keeps_blocks=True))
    skip_blocks(unet, now)
    with torch.no_grad():
        first = predict(unet, odd, torch.tensor(9), rows(sd.prompts, [0, 1]))
        now.work = Work(uses_kept_blocks=True)
        assert torch.equal(predict(unet, odd, torch.tensor(9), rows(sd.prompts, [0, 1])), first)


# the schedule


def test_a_schedule_step_by_step():
    schedule = Acceleration(num_steps=10, cache_from=4, skip_from=6, refresh_every=3)
    works = [schedule.at(i) for i in range(10)]
    assert [w.reuses_maps for w in works] == [True] * 4 + [False] * 6
    #                                                   0      1      2      3      4     5     6      7     8     9
    assert [w.uses_kept_attention for w in works] == [False, False, False, False, True, True, False, True, True, False]
    assert [i for i, w in enumerate(works) if w.keeps_attention] == [3, 6]
    assert [w.uses_kept_blocks for w in works] == [False] * 6 + [True] * 4
    assert [i for i, w in enumerate(works) if w.keeps_blocks] == [5]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_steps": 0, "cache_from": 0, "skip_from": 0}, "num_steps .k. must be at least 1, got 0; cache_from"),
        ({"num_steps": 5, "cache_from": 4, "skip_from": 3}, "got r=4, s=3, k=5"),
        ({"num_steps": 5, "cache_from": 3, "skip_from": 6}, "nor skip_from num_steps"),
        ({"num_steps": 5, "cache_from": 3, "skip_from": 3, "refresh_every": 0}, "refresh_every must be at least 1"),
    ],
)
def test_bad_schedules_are_refused(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        Acceleration(**values)


def test_a_run_leaves_the_client_a_step_and_has_one_noise(sd):
    values = {"scheduler": None, "prompts": sd.prompts, "guidance_scale": 1.0, "acceleration": ALL}
    values |= {"noise": sd.noise, "negative": None, "num_inference_steps": 5}
    with pytest.raises(ValueError, match="the client's model finishes the picture"):
        CandidateRun(**values)
    with pytest.raises(ValueError, match="noise must be one row"):
        CandidateRun(**values | {"num_inference_steps": 6, "noise": sd.noise.repeat(2, 1, 1, 1)})
    with pytest.raises(ValueError, match="negative must be one row"):
        CandidateRun(**values | {"num_inference_steps": 6, "negative": conditioning(sd.unet, 3, seed=1)})
