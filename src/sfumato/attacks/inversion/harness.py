"""Runs a method on the features of pictures that only the harness holds; clips and scores what comes back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.attacks.inversion.method import InversionMethod
from sfumato.attacks.inversion.scoring import Bytes, Score, SetScore, inception_scores, scores
from sfumato.attacks.inversion.view import Cut, FeatureView, FirstPart, Guess, Pictures
from sfumato.attacks.inversion.watch import Watch
from sfumato.models.decoding import to_uint8
from sfumato.models.folder import ModelFolder
from sfumato.models.picture_encoder import PictureEncoder


@dataclass(frozen=True, kw_only=True)
class Inverted:
    """One method on one cut."""

    method: InversionMethod
    cut: Cut
    guess: Guess
    pictures: Bytes
    """The guesses, clipped."""
    prior_only: Bytes
    """One draw of what the same attacker guesses without features."""
    scores: tuple[Score, ...]
    set_scores: tuple[SetScore, ...]


def white_box_view(
    pictures: Pictures,
    first: FirstPart,
    *,
    cut: Cut,
    model: ModelFolder,
    priors: Sequence[str] = (),
    num_frames: int = 1,
) -> FeatureView:
    """Makes the view of pictures behind a cut: their features, and F1 itself.

    Args:
        pictures: with values in 0..1, on the device where the attack shall compute; they are not kept.
        first: F1 with its preprocessing.
        cut: public names.
        model: the public diffusion model.
        priors: what the attacker may know in words.
        num_frames: of a clip.
    """
    with torch.no_grad():
        features = tuple(part.detach().clone() for part in first(pictures))
    height, width = pictures.shape[-2:]
    return FeatureView(
        features=features,
        num_pictures=len(pictures),
        cut=cut,
        first=first,
        model=model,
        picture_size=(height, width),
        priors=tuple(priors),
        num_frames=num_frames,
    )


def prior_draws(method: InversionMethod, view: FeatureView, num_draws: int) -> list[Bytes]:
    """What a method guesses for a view without its features, in several draws; the same at every cut of one target.

    Raises:
        ValueError: no draw.
    """
    if num_draws < 1:
        raise ValueError(f"the number of draws must be at least 1, got {num_draws}")
    return [clipped(method.prior_only(view, draw)) for draw in range(num_draws)]


def invert(
    method: InversionMethod,
    view: FeatureView,
    originals: Bytes,
    draws: Sequence[Bytes],
    *,
    encoder: PictureEncoder | None = None,
    watch: Watch | None = None,
) -> Inverted:
    """Runs a method and scores it beside its prior alone.

    Args:
        method: what is tried.
        view: all that the method is given.
        originals: the pictures behind the features; the method never gets them.
        draws: its guesses without features.
        encoder: for attributes and the score of the whole set.
        watch: who is told, and where checkpoints go.

    Raises:
        ValueError: pictures of other shapes than the guess, or no draw.
        Unsupported, ModelError: as the method.
    """
    guess = method.run(view, watch)
    pictures = clipped(guess.pictures)
    return Inverted(
        method=method,
        cut=view.cut,
        guess=guess,
        pictures=pictures,
        prior_only=draws[0],
        scores=scores(pictures, originals, draws, encoder),
        set_scores=() if encoder is None or len(pictures) < 2 else (inception_scores(pictures, draws, encoder),),
    )


def clipped(pictures: Tensor) -> Bytes:
    """Pictures as bytes: nobody knows what a method returns, so values outside 0..1 are cut, and nan is grey."""
    return to_uint8(pictures.detach().cpu().float().nan_to_num(0.5).clamp(0, 1))
