"""What passes from the server's model to the client's: latents as a U-Net sees them, and where they stand.

Steps are not compared by index. The client's schedule is entered at the step that begins nearest to the latents' noise
level, so that both sides may use any number of steps and any scheduler.

Source: ObCLIP, NeurIPS 2025, arXiv 2510.04153, which shifts the index by a tuned number instead; the nearest level
gives that number.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from sfumato.models.entry import Entry, PreviousOutput, previous_output
from sfumato.models.noise_levels import latent_scale, nearest_level, noise_levels, schedule_hash
from sfumato.tensors import Latent

HandoffKind = Literal["restart", "ship-history"]
"""Whether the client's solver starts anew, or goes on from the server's last prediction of the clean latent."""


@dataclass(frozen=True, kw_only=True)
class Handoff:
    """Latents between two steps, with what another model and scheduler need to go on from them.

    Reveals: to the client, the latents of all candidates; nothing on which of them it wants.
    """

    latents: Latent
    """One row a candidate, as the U-Net sees them."""
    timestep: float
    """Of the step that comes next in the server's schedule."""
    sigma: float
    """Noise level of the latents, relative to the clean ones."""
    prediction_type: str
    schedule_hash: str
    """Of the noise schedule that the model was trained with."""
    scaling_factor: float
    """Of the latent space: its autoencoder's."""
    previous: PreviousOutput | None = None
    """What the server's solver remembers, if it is shipped."""

    def only(self, index: int) -> "Handoff":
        """The same with one candidate's rows.

        Run by: client.
        """
        if not 0 <= index < len(self.latents):
            raise ValueError(f"there are {len(self.latents)} candidates, none at index {index}")
        rows = slice(index, index + 1)
        previous = self.previous and replace(self.previous, clean=self.previous.clean[rows])
        return replace(self, latents=self.latents[rows], previous=previous)

    def stands_where(self, other: "Handoff") -> bool:
        """Whether it is of the same model space, schedule and noise level; latents are not looked at."""
        levels = [(h.timestep, h.sigma, h.scaling_factor) for h in (self, other)]
        return (self.prediction_type, self.schedule_hash) == (other.prediction_type, other.schedule_hash) and all(
            math.isclose(mine, its, rel_tol=1e-5) for mine, its in zip(*levels, strict=True)
        )


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """The client's model and schedule."""

    scheduler: Any
    """Its timesteps are set when it is entered."""
    num_inference_steps: int
    num_channels: int
    """Of the latents that its U-Net takes."""
    scaling_factor: float


def hand_off(
    scheduler: Any, latents: Latent, num_done: int, *, scaling_factor: float, kind: HandoffKind = "restart"
) -> Handoff:
    """Describes latents after the scheduler's first steps.

    Run by: worker.

    Args:
        scheduler: that made those steps, as they left it.
        latents: in its own scale.
        num_done: how many steps it made.
        scaling_factor: of the server's autoencoder.
        kind: whether to ship what the solver remembers: as many bytes again as the latents.

    Raises:
        ValueError: no step is left to the client, or nothing is remembered that could be shipped.
    """
    num = len(scheduler.timesteps)
    if not 0 < num_done < num:
        raise ValueError(f"the server must make between 1 and {num - 1} of its {num} steps, got {num_done}")
    return Handoff(
        latents=latents / latent_scale(scheduler, num_done),
        timestep=float(scheduler.timesteps[num_done]),
        sigma=noise_levels(scheduler)[num_done],
        prediction_type=scheduler.config.prediction_type,
        schedule_hash=schedule_hash(scheduler),
        scaling_factor=scaling_factor,
        previous=previous_output(scheduler, num_done) if kind == "ship-history" else None,
    )


def entry_of(handoff: Handoff, receiver: Receiver) -> Entry:
    """Where the client's run begins; a :class:`~sfumato.models.sampling.Sampling` takes it with ``handoff.latents``.

    Run by: client.

    Raises:
        ValueError: the latents are not of the client's latent space and noise schedule, are no numbers, or the client's
            solver cannot take what was shipped; all problems together.
    """
    if problems := _problems(handoff, receiver):
        raise ValueError("the client's model cannot go on from the server's latents: " + "; ".join(problems))
    receiver.scheduler.set_timesteps(receiver.num_inference_steps)
    return Entry(step=nearest_level(receiver.scheduler, handoff.sigma), previous=handoff.previous)


def _problems(handoff: Handoff, receiver: Receiver) -> list[str]:
    found = []
    own_type = receiver.scheduler.config.prediction_type
    if handoff.prediction_type != own_type:
        found.append(f"the server's model predicts {handoff.prediction_type}, the client's {own_type}")
    if handoff.schedule_hash != schedule_hash(receiver.scheduler):
        found.append("their noise schedules differ")
    if not math.isclose(handoff.scaling_factor, receiver.scaling_factor, rel_tol=1e-6):
        found.append(
            f"their latent spaces differ: the server's scaling factor is {handoff.scaling_factor:g}, "
            f"the client's {receiver.scaling_factor:g}"
        )
    if (channels := handoff.latents.shape[1]) != receiver.num_channels:
        found.append(f"their latent spaces differ: {channels} channels came, the client's has {receiver.num_channels}")
    previous = handoff.previous
    if previous is not None and previous.clean.shape != handoff.latents.shape:
        found.append("the shipped previous output is not of the latents' shape")
    numbers = [handoff.latents, *([previous.clean] if previous else [])]
    levels = [handoff.sigma, *([previous.sigma] if previous else [])]
    if not all(torch.isfinite(n).all() for n in numbers):
        found.append("they hold values that are not numbers")
    if not all(math.isfinite(level) and level > 0 for level in levels):
        found.append("their noise level is not a positive number")
    if previous is not None and not previous.sigma > handoff.sigma:
        found.append("the shipped previous output is not from a higher noise level")
    return found
