"""Where the server's steps end and the client's begin; known before anything is sent, from configurations alone."""

from dataclasses import dataclass

import torch

from sfumato.models.folder import ModelFolder
from sfumato.models.loading import scaling_factor
from sfumato.models.noise_levels import noise_levels
from sfumato.models.sampling import make_scheduler
from sfumato.protocols.prompt_set.handoff import Handoff, Receiver, entry_of, hand_off
from sfumato.protocols.prompt_set.spec import PromptSet


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Two models, each with its schedule."""

    scheduler: str
    """The server's."""
    num_inference_steps: int
    """Of the server's schedule."""
    expected: Handoff
    """What the server will hand off, with latents of zeros."""
    previous_sigma: float
    """Noise level of the server's last step."""
    first_step: int
    """The client's first, in its own schedule."""


def pairing_of(
    spec: PromptSet,
    server: ModelFolder,
    device: ModelFolder,
    *,
    scheduler: str,
    num_inference_steps: int,
    latent_size: tuple[int, int],
) -> Pairing:
    """Finds out where the client's model takes over.

    Run by: client.

    Args:
        spec: the protocol's.
        server, device: the two models.
        scheduler, num_inference_steps: the client's, and the server's where the spec does not say otherwise.
        latent_size: rows and columns.

    Raises:
        ValueError: models that do not fit together, no step left to the client, or a solver that cannot go on from
            what is shipped.
    """
    name = scheduler if spec.server_scheduler == "same" else spec.server_scheduler
    num_steps = spec.server_inference_steps or num_inference_steps
    acceleration = spec.acceleration
    acceleration.require_within(num_steps)
    made = make_scheduler(server, name)
    made.set_timesteps(num_steps)
    zeros = torch.zeros(1, server.config("unet")["in_channels"], *latent_size)
    expected = hand_off(made, zeros, acceleration.num_steps, scaling_factor=scaling_factor(server))
    receiver = Receiver(
        scheduler=make_scheduler(device, scheduler),
        num_inference_steps=num_inference_steps,
        num_channels=device.config("unet")["in_channels"],
        scaling_factor=scaling_factor(device),
    )
    first_step = entry_of(expected, receiver).step
    if spec.handoff == "ship-history":
        _require_history({name, scheduler}, first_step)
    return Pairing(
        scheduler=name,
        num_inference_steps=num_steps,
        expected=expected,
        previous_sigma=noise_levels(made)[acceleration.num_steps - 1],
        first_step=first_step,
    )


def _require_history(schedulers: set[str], first_step: int) -> None:
    if schedulers != {"dpm++"}:
        raise ValueError(
            f"handoff=ship-history needs the scheduler dpm++ on both sides, got {', '.join(sorted(schedulers))}: "
            "use it, or handoff=restart"
        )
    if first_step == 0:
        raise ValueError("handoff=ship-history has nothing to go on from: the client begins at its first step")
