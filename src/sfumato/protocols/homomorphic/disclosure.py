"""What the plaintext of mode=paper discloses: mathematics that a run's report and attacks share.

A step is ``x' = factor * x + addend``, and the addend follows from the predictions. So who reads these knows every
latent but for one unknown an entry, the first noise. An entry that was in the clear in any step is known in all of
them; for the others the noise is what makes the denoised estimates of neighbouring steps agree best, each pair of steps
weighted by how well they agree at all. Where a model predicts noise these differ by the predictions alone; then the
first step tells, at which there is nothing but noise to predict.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool
from torch import Tensor

from sfumato.protocols.homomorphic.updates import LinearUpdate
from sfumato.tensors import Latent

_FIRST_SIZE = 1.0
"""Mean square of the denoised estimate of the first step, against unit noise: it is about a mean picture."""
_FIRST_CHANGE = 0.01
"""Mean square by which denoised estimates of neighbouring steps differ, before it is estimated from the run itself."""
_LEAST_CHANGE = 1e-5
_ROUNDS = 3
"""In which it is."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What stood in the clear in one step, in the order of the steps; in fp64."""

    prediction: Latent
    """After guidance."""
    is_public: Bool[Tensor, "batch channel height width"]
    latent: Latent
    """Before the step; zero where it was encrypted."""


def first_noise(updates: Sequence[LinearUpdate], seen: Sequence[Seen], prediction_type: str) -> Latent:
    """The first noise, of unit size: exact where an entry was ever in the clear, and else estimated.

    Args:
        updates: of the scheduler.
        seen: as many steps as updates.
        prediction_type: of the model: epsilon, v_prediction or sample.

    Raises:
        ValueError: another number of steps, or another kind of prediction.
    """
    if len(seen) != len(updates) or not seen:
        raise ValueError(f"a run of {len(updates)} steps, but {len(seen)} were seen")
    factors, constants = _trajectory(updates, seen)
    denoised = [
        _denoised(update, factor, constant, one.prediction, prediction_type)
        for update, factor, constant, one in zip(updates, factors, constants, seen, strict=False)
    ]
    denoised.append((factors[-1], constants[-1]))
    noise = _most_agreeing(denoised)
    for one, factor, constant in zip(seen, factors, constants, strict=False):
        noise = torch.where(one.is_public, (one.latent - constant) / factor, noise)
    return noise


def _most_agreeing(denoised: list[tuple[float, Latent]]) -> Latent:
    """The noise that makes estimates ``factor * noise + constant`` agree: weighted least squares with a unit prior.

    The weights are one over the mean square of what is left, by expectation maximisation.
    """
    changes = [denoised[0], *((b[0] - a[0], b[1] - a[1]) for a, b in pairwise(denoised))]
    slope = torch.tensor([c[0] for c in changes], dtype=torch.float64)
    change = torch.stack([c[1] for c in changes])
    size = torch.full_like(slope, _FIRST_CHANGE)
    size[0] = _FIRST_SIZE
    for _ in range(_ROUNDS):
        noise, variance = _least_squares(slope, change, size)
        left = (slope.view(-1, 1, 1, 1, 1) * noise + change).square().mean(dim=(1, 2, 3, 4))
        size[1:] = (left + slope.square() * variance)[1:] + _LEAST_CHANGE
    return _least_squares(slope, change, size)[0]


def _least_squares(slope: Tensor, change: Tensor, size: Tensor) -> tuple[Latent, float]:
    """The noise, and the variance that it is left with."""
    variance = 1 / float((slope.square() / size).sum() + 1)
    return -variance * torch.einsum("s,s...->...", slope / size, change), variance


def last_latents(updates: Sequence[LinearUpdate], seen: Sequence[Seen], noise: Latent) -> Latent:
    """The latents after the last step that follow from the first noise."""
    factors, constants = _trajectory(updates, seen)
    return factors[-1] * noise + constants[-1]


def _trajectory(updates: Sequence[LinearUpdate], seen: Sequence[Seen]) -> tuple[list[float], list[Latent]]:
    """Each step's latents, and the last step's result, as ``factor * noise + constant``."""
    predictions = [one.prediction for one in seen]
    factors, constants = [1 / updates[0].input_scale], [torch.zeros_like(predictions[0])]
    for i, update in enumerate(updates):
        constants.append(update.factor * constants[-1] + update.addend(predictions[: i + 1]))
        factors.append(update.factor * factors[-1])
    return factors, constants


def _denoised(
    update: LinearUpdate, factor: float, constant: Latent, prediction: Latent, prediction_type: str
) -> tuple[float, Latent]:
    """The model's estimate of the clean latents in one step, as ``factor * noise + constant``."""
    signal = update.scale * update.input_scale
    sigma = (1 - signal**2) ** 0.5
    factor, constant = factor * update.input_scale, constant * update.input_scale
    match prediction_type:
        case "epsilon":
            return factor / signal, (constant - sigma * prediction) / signal
        case "v_prediction":
            return factor * signal, signal * constant - sigma * prediction
        case "sample":
            return 0.0, prediction
    raise ValueError(f"a model that predicts {prediction_type!r}: epsilon, v_prediction and sample are known")
