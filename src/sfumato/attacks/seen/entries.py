"""What readers of all protocols take out of messages."""

import math
from collections.abc import Iterator

from torch import Tensor

from sfumato.attacks.seen.base import SeenMap, Window
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.models.sampling import make_scheduler
from sfumato.wire.transcript import Entry, Transcript


def present(tensor: Tensor | None) -> Tensor:
    """A tensor of a message.

    Raises:
        LacksInput: it was not kept.
    """
    if tensor is None:
        raise LacksInput("tensors of this run were not kept: record it with sfumato generate --record")
    return tensor


def whole(step: int, timestep: float, values: Tensor) -> SeenMap:
    """A map of which every cell was seen."""
    height, width = values.shape[-2:]
    window = Window(0, height, 0, width, height, width)
    return SeenMap(step=step, timestep=timestep, window=window, values=values.float())


def messages(transcript: Transcript, *kinds: str) -> Iterator[Entry]:
    """One cloud's messages of some kinds, in order."""
    return (entry for entry in transcript.entries if entry.kind in kinds)


def timesteps(view: RunView, num_calls: int) -> list[float]:
    """Of every call of the U-Net, for protocols that do not tell clouds: from the settings, or nan without them.

    Args:
        view: whose settings to read.
        num_calls: of the run; a broken one has fewer than its scheduler makes.
    """
    if view.settings is None:
        return [math.nan] * num_calls
    scheduler = make_scheduler(view.model, view.settings.scheduler)
    scheduler.set_timesteps(view.settings.num_inference_steps)
    found = [float(timestep) for timestep in scheduler.timesteps]
    return found[:num_calls] if num_calls <= len(found) else [math.nan] * num_calls
