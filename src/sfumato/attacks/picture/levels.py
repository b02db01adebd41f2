"""Noise levels of the public model, and what a prediction says at one of them."""

from dataclasses import dataclass
from functools import lru_cache
from math import isnan
from typing import Any

from jaxtyping import Float
from torch import Tensor

from sfumato.attacks.seen.steps import SeenStep
from sfumato.attacks.view import RunView
from sfumato.errors import Unsupported
from sfumato.models.folder import ModelFolder
from sfumato.models.sampling import make_scheduler
from sfumato.tensors import Latent


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level: the U-Net reads ``signal`` times a clean latent plus ``noise`` times Gaussian noise."""

    signal: float
    noise: float
    prediction_type: str

    def clean(self, noisy: Latent, prediction: Latent) -> Latent:
        """The clean latent that a guided prediction stands for.

        Raises:
            Unsupported: a model whose predictions are of another kind.

        Source: Salimans and Ho 2022, "Progressive Distillation", arXiv 2202.00512, section 4.
        """
        match self.prediction_type:
            case "epsilon":
                return (noisy - self.noise * prediction) / self.signal
            case "v_prediction":
                return self.signal * noisy - self.noise * prediction
            case "sample":
                return prediction
        raise Unsupported(f"the model predicts {self.prediction_type}: attacks read epsilon, v_prediction and sample")

    def noise_of(self, noisy: Latent, clean: Latent) -> Latent:
        """The noise that is in a latent, given what is clean in it."""
        return (noisy - self.signal * clean) / self.noise

    def noised(self, clean: Latent, noise: Latent) -> Latent:
        """What the U-Net reads."""
        return self.signal * clean + self.noise * noise


def level_at(model: ModelFolder, timestep: float) -> Level:
    """The level at a timestep; between whole ones, as Euler has them, by a straight line."""
    signals = _squared_signals(model)
    low = min(int(timestep), len(signals) - 1)
    high = min(low + 1, len(signals) - 1)
    squared = float(signals[low] + (timestep - low) * (signals[high] - signals[low]))
    return Level(
        signal=squared**0.5,
        noise=(1 - squared) ** 0.5,
        prediction_type=model.config("scheduler").get("prediction_type", "epsilon"),
    )


def timesteps_of(view: RunView) -> list[float]:
    """Of every step of a run, from its public settings.

    Raises:
        LacksInput: the settings are not known.
    """
    settings = view.known_settings()
    scheduler: Any = make_scheduler(view.model, settings.scheduler)
    scheduler.set_timesteps(settings.num_inference_steps)
    return [float(each) for each in scheduler.timesteps]


def timestep_of(view: RunView, seen: SeenStep) -> float:
    """As the transcript tells it, or else by its place in the run.

    Raises:
        LacksInput: neither says.
    """
    return timesteps_of(view)[seen.step] if isnan(seen.timestep) else seen.timestep


@lru_cache(maxsize=4)
def _squared_signals(model: ModelFolder) -> Float[Tensor, " timestep"]:
    return make_scheduler(model, "ddim").alphas_cumprod
