"""Judges guesses on a recorded run by what its client kept; no attack is given any of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sfumato.attacks.guesses import Guess
    from sfumato.audit.judging import Known
    from sfumato.models.folder import ModelFolder

Judged = dict[str, tuple[float | None, float | None]]
"""By metric: the guess, and that of the same attacker without the transcript; means over pictures."""

HEADINGS = {
    "correlation": "correlation",
    "hidden_correlation": "of hidden entries",
    "psnr_db": "PSNR dB",
    "psnr": "PSNR dB",
}


def truth_of(secrets: Path | None, picture: Path | None, model: "ModelFolder") -> "Known":
    """What a guess is judged by.

    Args:
        secrets: file of ``generate --secrets``.
        picture: file of a picture that the run made.
        model: of the run.

    Raises:
        ValueError: the picture cannot be read.
        SfumatoError: the secrets cannot be read, or are of another model.
    """
    import torch

    from sfumato.audit.judging import Known
    from sfumato.audit.made_runs import Truth
    from sfumato.errors import SpecMismatch
    from sfumato.models.decoding import decode, to_uint8
    from sfumato.models.loading import load_decoder
    from sfumato.portraits import mentioned
    from sfumato.run_secrets import RunSecrets

    told: dict[str, Any] = {"prompts": (), "attributes": (), "latents": torch.empty(0, 1, 1, 1)}
    if secrets is not None:
        kept = RunSecrets.read(secrets)
        if kept.model_fingerprint != model.unet_fingerprint:
            raise SpecMismatch("the secrets are of a run with another model: name those of the run that was recorded")
        latents = kept.latents[-1]
        number = len(latents)
        told = {"prompts": (kept.prompt,) * number, "attributes": (mentioned(kept.prompt),) * number}
        told |= {"latents": latents, "seed": kept.seed}
    shown = _read_picture(picture) if picture else to_uint8(decode(load_decoder(model), told["latents"]))
    return Known(truth=Truth(pictures=shown, **told), model=model, candidates=None, outside=None)


def judge_guess(guess: "Guess", prior: "Guess", known: "Known") -> Judged:
    """Scores of both.

    Raises:
        ValueError: of another run, or what was named does not judge such a guess.
    """
    from dataclasses import replace

    import numpy as np

    from sfumato.attacks.guesses import AttributeGuess, ChoiceGuess, LatentGuess, PictureGuess
    from sfumato.attacks.homomorphic.base import PartlyHidden
    from sfumato.audit.judging import judge

    if isinstance(guess, PartlyHidden) and isinstance(prior, PartlyHidden):
        found, before = _of_latents(guess, known), _of_latents(prior, known)
        return {metric: (found[metric], before[metric]) for metric in found}
    if not isinstance(guess, LatentGuess | PictureGuess) and not known.truth.prompts:
        raise ValueError("--truth judges pictures, and this attack guesses something else: name --secrets of the run")
    if isinstance(guess, ChoiceGuess):
        raise ValueError("candidates are not judged here: the attack prints them by their scores")
    if isinstance(guess, AttributeGuess) and isinstance(prior, AttributeGuess):
        said = known.truth.attributes[0]
        if not said:
            raise ValueError("the prompt of the secrets says nothing of the attributes that this attack guesses")
        guess, prior = (
            replace(one, probabilities={name: rows for name, rows in one.probabilities.items() if name in said})
            for one in (guess, prior)
        )
    scored, prior_only = judge(guess, known), judge(prior, known)
    return {metric: (float(np.mean(scored[metric])), float(np.mean(prior_only[metric]))) for metric in scored}


def _of_latents(guess: Any, known: "Known") -> dict[str, float | None]:
    from sfumato.audit.judging import pictures_of
    from sfumato.audit.scores import scores

    truth, pictures = known.truth, pictures_of(guess, known.model)
    assert pictures is not None
    latents = truth.latents if truth.prompts else None
    return scores(guess.latents, guess.was_hidden, pictures, latents=latents, truth=truth.pictures).to_dict()


def _read_picture(path: Path) -> "NDArray[np.uint8]":
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))[None]
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"--truth {path} is no picture that can be read") from error
