"""Views of a recorded run, with what the command line says of it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfumato.attacks.view import RunView
    from sfumato.models.folder import ModelFolder


@dataclass(frozen=True, kw_only=True)
class ViewRequest:
    """Whose view, and what no transcript says."""

    run: Path
    clouds: str | None
    """Names with commas; None for all that follow one protocol."""
    steps: int | None
    scheduler: str
    guidance_scale: float
    candidates: Path | None


def views_of(request: ViewRequest, model: "ModelFolder") -> "list[RunView]":
    """One, or where clouds follow different protocols and none is named one for each.

    Raises:
        ValueError: no such cloud, or no text in the file of candidates.
        SfumatoError: the recording cannot be read, or is of another model.
    """
    from sfumato.attacks.view import RunView
    from sfumato.transport.recording import Recording

    recording = Recording.read(request.run)
    if request.clouds is None:
        views = list(RunView.of_parts(recording, model))
    else:
        views = [RunView.of(recording, model, request.clouds.split(","))]
    texts = _texts(request.candidates)
    return [_told(view, request, texts) for view in views]


def _texts(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        texts = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    except OSError as error:
        raise ValueError(f"--candidates {path} cannot be read") from error
    if len(texts) < 2:
        raise ValueError(f"--candidates {path} must hold two texts or more, one a line, got {len(texts)}")
    return texts


def _told(view: "RunView", request: ViewRequest, texts: tuple[str, ...]) -> "RunView":
    """With the run's settings where they were said, and its size is seen."""
    from sfumato.attacks.seen.catalog import reader_of
    from sfumato.attacks.view import RunSettings
    from sfumato.errors import LacksInput
    from sfumato.protocols.prompt_set.spec import PromptSet

    try:
        number, window = reader_of(view).num_pictures(view), reader_of(view).latents(view)[0].window
    except LacksInput:
        return view
    if texts and not isinstance(view.spec, PromptSet):
        view = replace(view, candidates=(texts,) * number)
    if request.steps is None:
        return view
    factor = 2 ** (len(view.model.config("vae")["block_out_channels"]) - 1)
    settings = RunSettings(
        num_pictures=number,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        scheduler=request.scheduler,
        height=window.height * factor,
        width=window.width * factor,
    )
    return replace(view, settings=settings)
