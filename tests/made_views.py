"""Small runs of the bundled model, as audits make them, and what one cloud saw of each; made once a test session."""

from dataclasses import replace
from functools import lru_cache

from sfumato.attacks.view import RunView
from sfumato.audit.made_runs import RunMaker, Truth, view_of
from sfumato.audit.noise import noise_instead
from sfumato.models.folder import ModelFolder
from sfumato.protocols.base import Spec
from sfumato.transport.recording import Recording
from sfumato.wire.selection import keep_all


def maker(model: ModelFolder, spec: Spec, steps: int = 2, number: int = 3) -> RunMaker:
    return RunMaker(model=model, spec=spec, num_inference_steps=steps, batch_size=number, scheduler="ddim")


@lru_cache
def made(
    model: ModelFolder, spec: Spec, steps: int = 2, number: int = 3, guidance_scale: float = 5.0
) -> tuple[Recording, Truth]:
    by = replace(maker(model, spec, steps, number), guidance_scale=guidance_scale)
    ((recording, truth),) = by.victims(number, keep_all)
    return recording, truth


def view(
    model: ModelFolder,
    spec: Spec,
    clouds: tuple[int, ...] = (0,),
    *,
    steps: int = 2,
    number: int = 3,
    is_noise: bool = False,
    learns: bool = False,
) -> RunView:
    """What some clouds saw; with ``is_noise`` of a transcript in which noise stands for every number."""
    recording, truth = made(model, spec, steps, number)
    seen = noise_instead(recording) if is_noise else recording
    return view_of(seen, maker(model, spec, steps, number), clouds, truth.pictures.shape[:3], learns=learns)
