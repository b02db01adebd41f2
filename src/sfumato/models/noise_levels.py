"""Where a diffusers scheduler's steps stand on the scale of noise, in numbers that another scheduler understands."""

import hashlib
import json
import math
from itertools import pairwise
from typing import Any

from sfumato.errors import Unsupported

_SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)


def noise_levels(scheduler: Any) -> tuple[float, ...]:
    """Sigma, the noise's size relative to the clean latent's, before each step; timesteps must be set.

    Raises:
        Unsupported: steps that come twice (solvers of second order in one step), or a schedule of another kind.
    """
    timesteps = [float(t) for t in scheduler.timesteps]
    if scheduler.config.get("use_flow_sigmas") or not hasattr(scheduler, "alphas_cumprod"):
        raise Unsupported("the scheduler is of the flow-matching kind: use one of ddim, dpm++, euler, lcm")
    if any(later >= earlier for earlier, later in pairwise(timesteps)):
        raise Unsupported("the scheduler runs a timestep more than once: use one of ddim, dpm++, euler, lcm")
    if hasattr(scheduler, "sigmas"):
        return tuple(float(s) for s in scheduler.sigmas[: len(timesteps)])
    signal = [float(scheduler.alphas_cumprod[int(t)]) for t in timesteps]
    return tuple(math.sqrt((1 - a) / a) if a > 0 else math.inf for a in signal)


def latent_scale(scheduler: Any, index: int) -> float:
    """What the scheduler's latents before a step are, relative to what the U-Net is given.

    Euler's latents grow with sigma, and it scales them down for the U-Net; the other schedulers' are the U-Net's own.
    """
    is_scaling = hasattr(scheduler, "is_scale_input_called")
    return math.sqrt(noise_levels(scheduler)[index] ** 2 + 1) if is_scaling else 1.0


def nearest_level(scheduler: Any, sigma: float) -> int:
    """The step that begins nearest to a noise level, by its logarithm; timesteps must be set."""
    distances = [abs(math.log(level) - math.log(sigma)) for level in noise_levels(scheduler)]
    return distances.index(min(distances))


def schedule_hash(scheduler: Any) -> str:
    """A name for the noise schedule that a model was trained with: equal names, equal meaning of timesteps.

    Steps, their spacing and the solver are not part of it.
    """
    config = scheduler.config
    values = {name: config.get(name) for name in _SCHEDULE}
    if (betas := values["trained_betas"]) is not None:
        values["trained_betas"] = [float(b) for b in betas]
    values["rescale_betas_zero_snr"] = bool(values["rescale_betas_zero_snr"])
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
