import pytest

from sfumato.models.sampling import make_scheduler, require_timesteps


@pytest.mark.parametrize("name", ["ddim", "dpm++", "euler", "plms"])
@pytest.mark.parametrize("steps", [1, 2, 50])
def test_steps_that_a_schedule_has_are_set(portraits, name, steps):
    scheduler = make_scheduler(portraits, name)
    require_timesteps(scheduler, steps)
    assert steps <= len(scheduler.timesteps) <= steps + 1


def test_no_steps_and_more_than_there_are_levels(portraits):
    scheduler = make_scheduler(portraits, "ddim")
    with pytest.raises(ValueError, match="num_inference_steps must be at least 1, got 0"):
        require_timesteps(scheduler, 0)
    scheduler.register_to_config(steps_offset=1, timestep_spacing="leading")
    with pytest.raises(ValueError, match="1000 steps reach beyond the model's 1000 noise levels: use fewer"):
        require_timesteps(scheduler, 1000)
