"""How near a guess comes to the pictures, beside what the same attacker reaches without the features."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sfumato.metrics.intervals import Interval, bootstrap_interval
from sfumato.metrics.pictures import mean_absolute_psnr, psnr, ssim
from sfumato.metrics.sets import inception_score
from sfumato.models.picture_encoder import PictureEncoder

Bytes = NDArray[np.uint8]
"""Pictures of shape (batch, height, width, 3)."""
Metric = Callable[[Bytes, Bytes], NDArray[np.float64]]
"""Called with guesses and originals; returns one number a picture, higher for a nearer guess."""

PICTURE_METRICS: Final[Mapping[str, Metric]] = {"psnr": psnr, "mean_absolute_psnr": mean_absolute_psnr, "ssim": ssim}
"""In dB, in dB by the paper's Eq. 14, and between -1 and 1."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric of the guesses for some pictures, and of guesses from the prior alone."""

    metric: str
    guess: NDArray[np.float64]
    """One number a picture."""
    prior_only: NDArray[np.float64]
    """The mean over draws of the prior, for each picture."""

    @property
    def leakage(self) -> NDArray[np.float64]:
        """What the features gave away of each picture: the guess's score minus the prior's."""
        return self.guess - self.prior_only

    @cached_property
    def interval(self) -> Interval | None:
        """Where the mean leakage lies in 95 of 100 such sets; None for one picture, or where a score is infinite."""
        if len(self.guess) < 2 or not np.isfinite(self.leakage).all():
            return None
        return bootstrap_interval(self.leakage)


@dataclass(frozen=True, kw_only=True)
class SetScore:
    """A metric of a whole set of pictures."""

    metric: str
    guess: float
    prior_only: float
    """The mean over draws of the prior."""


def scores(
    guesses: Bytes, originals: Bytes, draws: Sequence[Bytes], encoder: PictureEncoder | None = None
) -> tuple[Score, ...]:
    """Scores guesses by every metric of single pictures.

    Args:
        guesses, originals: in pairs.
        draws: guesses for the same pictures from the prior alone, one set a draw.
        encoder: reads attributes; then the share of them that a guess has in common with its picture is scored too.

    Raises:
        ValueError: other shapes, or no draw.
    """
    if not draws:
        raise ValueError("prior-only scores need at least one draw: draw a picture from the prior")
    metrics = dict(PICTURE_METRICS)
    if encoder is not None:
        metrics["attributes"] = lambda a, b: attributes_in_common(a, b, encoder)
    return tuple(
        Score(
            metric=name,
            guess=metric(guesses, originals),
            prior_only=np.mean([metric(draw, originals) for draw in draws], axis=0),
        )
        for name, metric in metrics.items()
    )


def attributes_in_common(guesses: Bytes, originals: Bytes, encoder: PictureEncoder) -> NDArray[np.float64]:
    """The share of attributes, in [0, 1], of which an encoder reads the same value in both pictures."""
    found, true = encoder.attributes(guesses), encoder.attributes(originals)
    same: list[Any] = [found[name].argmax(1) == true[name].argmax(1) for name in found]
    return np.mean(same, axis=0, dtype=np.float64)


def inception_scores(guesses: Bytes, draws: Sequence[Bytes], encoder: PictureEncoder) -> SetScore:
    """How sure an encoder is of each guess and how varied of all: the paper's IS, with another network."""

    def of(pictures: Bytes) -> float:
        return inception_score(encoder.class_probabilities(pictures))

    return SetScore(
        metric="inception_score", guess=of(guesses), prior_only=float(np.mean([of(draw) for draw in draws]))
    )
