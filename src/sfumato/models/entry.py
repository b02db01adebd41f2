"""Beginning a run in the middle of its schedule, with latents that another sampler left."""

from dataclasses import dataclass
from typing import Any

from sfumato.models.noise_levels import latent_scale
from sfumato.tensors import Latent


@dataclass(frozen=True, kw_only=True)
class PreviousOutput:
    """What a multistep solver remembers of the step before."""

    clean: Latent
    """The clean latent that was predicted at that step."""
    sigma: float
    """The noise level at which it was predicted."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a run begins that does not begin with noise."""

    step: int
    """Index in the run's own schedule."""
    previous: PreviousOutput | None = None
    """None: a multistep solver starts as it does at step 0, with a step of first order."""


def enter(scheduler: Any, latents: Latent, entry: Entry) -> Latent:
    """Sets a scheduler to a step and returns the latents in its own scale; its timesteps must be set.

    Args:
        scheduler: a diffusers scheduler.
        latents: as the U-Net sees them before that step.
        entry: where to begin.

    Raises:
        ValueError: the schedule has no such step, or the solver cannot take what was remembered.
    """
    num = len(scheduler.timesteps)
    if not 0 <= entry.step < num:
        raise ValueError(f"the run must begin at one of its steps 0 to {num - 1}, got {entry.step}")
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(entry.step)
    if entry.previous is not None:
        _remember(scheduler, entry.step, entry.previous)
    return latents * latent_scale(scheduler, entry.step)


def previous_output(scheduler: Any, num_done: int) -> PreviousOutput:
    """What a multistep solver remembers after so many steps.

    Raises:
        ValueError: the scheduler is not DPM-Solver++.
    """
    _require_multistep(scheduler)
    return PreviousOutput(clean=scheduler.model_outputs[-1], sigma=float(scheduler.sigmas[num_done - 1]))


def _remember(scheduler: Any, step: int, previous: PreviousOutput) -> None:
    _require_multistep(scheduler)
    if step == 0:
        raise ValueError("the run begins at the first step of its schedule, before which nothing can be remembered")
    scheduler.model_outputs[-1] = previous.clean
    scheduler.lower_order_nums = 1
    # The solver reads where the step before was from its own schedule.
    scheduler.sigmas[step - 1] = previous.sigma


def _require_multistep(scheduler: Any) -> None:
    is_multistep = hasattr(scheduler, "lower_order_nums") and hasattr(scheduler, "model_outputs")
    if not is_multistep or scheduler.config.get("algorithm_type") != "dpmsolver++":
        raise ValueError(
            f"{type(scheduler).__name__} remembers no previous output: use the scheduler dpm++, "
            "or let the solver start anew"
        )
