"""A scheduler's steps as linear updates: ``x' = factor * x + a linear combination of the predictions so far``.

The coefficients are read off the scheduler itself: it is run once on unit vectors, one for the first latent and one
for each prediction. So DDIM, PLMS, multistep DPM-Solver++ and Euler go through one interface, and whatever a scheduler
does that is not such an update (clipping, thresholding, noise on the way) is found out.

In sigma coordinates, ``y = x / sqrt(alpha_bar)``, the factor of a model that predicts noise is one: a cloud that adds
encrypted terms to an encrypted ``y`` multiplies nothing. Where a model predicts velocity the factor is another, and the
client adds the difference of its own latents instead (:func:`sigma_scales`).

Source: for one step of DDIM, Song et al. 2021, arXiv 2010.02502, eq. 14; Euler's latents are ``y`` (Karras et al. 2022,
arXiv 2206.00364).
"""

import copy
import inspect
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.errors import Unsupported
from sfumato.tensors import Latent

_CHECK_SIZE = 10.0
"""Size of the random numbers that the probe checks itself with: large, to be clipped where anything is."""
_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class LinearUpdate:
    """One step."""

    factor: float
    """Of the latent."""
    coefficients: tuple[float, ...]
    """Of the predictions, the first step's first; the step's own is the last."""
    scale: float
    """Of the latent before the step: x over y."""
    next_scale: float
    """Of the latent after it."""
    input_scale: float
    """What the U-Net reads is this times the latent."""

    @property
    def sigma_factor(self) -> float:
        """Of y; one, but for rounding, where the model predicts noise."""
        return self.factor * self.scale / self.next_scale

    def addend(self, predictions: list[Latent]) -> Latent:
        """What is added to ``factor * x``, in fp64.

        Args:
            predictions: of all steps so far, after guidance.

        Raises:
            ValueError: not as many as steps.
        """
        if len(predictions) != len(self.coefficients):
            raise ValueError(f"the step combines {len(self.coefficients)} predictions, got {len(predictions)}")
        return sum(
            (c * p.double() for c, p in zip(self.coefficients, predictions, strict=True) if c),
            start=torch.zeros_like(predictions[-1], dtype=torch.float64),
        )

    def sigma_addend(self, predictions: list[Latent]) -> Latent:
        """What is added to ``sigma_factor * y``."""
        return self.addend(predictions) / self.next_scale


def linear_updates(scheduler: Any, num_inference_steps: int) -> tuple[LinearUpdate, ...]:
    """Reads all steps of a run off a diffusers scheduler, which is left as it is.

    Raises:
        Unsupported: a step that is not such an update; says what to use.
    """
    probed = copy.deepcopy(scheduler)
    probed.set_timesteps(num_inference_steps)
    num = len(probed.timesteps)
    generator = torch.Generator().manual_seed(0)  # of the check's numbers, no secret
    scales = sigma_scales(probed)
    check = _CHECK_SIZE * torch.randn(num + 1, generator=generator, dtype=torch.float64)
    states, inputs = _probe(probed, torch.cat([torch.eye(num + 1, dtype=torch.float64), check[:, None]], dim=1))
    found = states[:, :-1] @ check
    if not torch.allclose(found, states[:, -1], rtol=_TOLERANCE, atol=_TOLERANCE * _CHECK_SIZE):
        raise Unsupported(
            f"a step of {type(scheduler).__name__} is no linear update; it clips, thresholds or adds noise: use ddim, "
            "dpm++, euler or plms without these"
        )
    return tuple(_update(states[i : i + 2, :-1], i, scales, float(inputs[i, 0] / states[i, 0])) for i in range(num))


def _probe(
    scheduler: Any, basis: Float[Tensor, "basis column"]
) -> tuple[Float[Tensor, "state column"], Float[Tensor, "step column"]]:
    """Latents before the first step and after each, in terms of the basis: the first latent, then the predictions.

    And the latents of each step as the U-Net reads them.
    """
    rows = basis[:, None, None, None, :]
    accepts = inspect.signature(scheduler.step).parameters
    extra = {"generator": torch.Generator().manual_seed(0)} if "generator" in accepts else {}
    states, inputs = [rows[0]], []
    for prediction, timestep in zip(rows[1:], scheduler.timesteps, strict=True):
        inputs.append(scheduler.scale_model_input(states[-1], timestep))
        states.append(scheduler.step(prediction, timestep, states[-1], return_dict=False, **extra)[0].double())
    return torch.stack(states)[:, 0, 0, 0], torch.stack(inputs)[:, 0, 0, 0]


def _update(states: Float[Tensor, "two basis"], index: int, scales: list[float], input_scale: float) -> LinearUpdate:
    before, after = states
    factor = float(after[0] / before[0])
    combined = (after - factor * before)[1 : index + 2]
    return LinearUpdate(
        factor=factor,
        coefficients=tuple(combined.tolist()),
        scale=scales[index],
        next_scale=scales[index + 1],
        input_scale=input_scale,
    )


def sigma_scales(scheduler: Any) -> list[float]:
    """Latents of a scheduler over those in sigma coordinates, before each step and after the last.

    They are all that an accumulator of encrypted differences needs: what a step adds to ``y`` is its latents after it
    over their scale, less those before it over theirs, whatever the scheduler did (clipping and noise on the way too)
    and whatever the model predicts.

    Unlike ``noise_levels`` this takes solvers that come to a timestep twice: nothing is looked up by timestep here.

    Args:
        scheduler: of diffusers; its timesteps are set.

    Raises:
        Unsupported: flow matching, or a schedule that begins without signal.
    """
    if not hasattr(scheduler, "alphas_cumprod") or scheduler.config.get("use_flow_sigmas"):
        raise Unsupported(f"{type(scheduler).__name__} is of the flow-matching kind: use ddim, dpm++, euler or plms")
    if hasattr(scheduler, "is_scale_input_called"):
        return [1.0] * (len(scheduler.timesteps) + 1)
    if hasattr(scheduler, "sigmas"):
        scales = [1 / math.sqrt(1 + float(s) ** 2) for s in scheduler.sigmas]
    else:
        signals = [float(scheduler.alphas_cumprod[int(t)]) for t in scheduler.timesteps]
        scales = [math.sqrt(a) for a in (*signals, float(getattr(scheduler, "final_alpha_cumprod", 1)))]
    if min(scales) <= 0:
        raise Unsupported("the noise schedule begins at no signal at all, which has no sigma coordinates")
    return scales
