"""How near a guess is to what only the client knew; knows nothing of protocols."""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from sfumato.metrics.agreement import correlation
from sfumato.metrics.pictures import psnr

_MOST_DB = 100.0


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of one guess; None where there is no truth to judge it by."""

    correlation: float | None
    """Pearson's, of all entries of the last latents."""
    hidden_correlation: float | None
    """The same of the entries that were encrypted in the last step; None where none was."""
    psnr_db: float | None
    """Of the pictures, the mean of them; pictures that agree to the byte count as 100."""

    def to_dict(self) -> dict[str, float | None]:
        """Plain JSON values."""
        return asdict(self)


def scores(
    guess: Float[Tensor, "batch channel height width"],
    was_hidden: Bool[Tensor, "batch channel height width"],
    pictures: NDArray[np.uint8],
    *,
    latents: Float[Tensor, "batch channel height width"] | None,
    truth: NDArray[np.uint8] | None,
) -> Scores:
    """Judges a guess.

    Args:
        guess: the last latents, as an attacker has them.
        was_hidden: entries that were encrypted.
        pictures: what the guess decodes to.
        latents: the client's own, if they are known.
        truth: the client's own pictures, if they are known.

    Raises:
        ValueError: of another run; sizes differ.
    """
    if latents is not None and latents.shape != guess.shape:
        raise ValueError(
            f"the secrets are of latents of shape {tuple(latents.shape)} and the run's have {tuple(guess.shape)}: name "
            "the secrets of the run that was recorded"
        )
    if truth is not None and truth.shape != pictures.shape:
        raise ValueError(
            f"the true pictures are of shape {truth.shape} and the run's of {pictures.shape}: name what the run made"
        )
    return Scores(
        correlation=None if latents is None else correlation(guess, latents),
        hidden_correlation=None if latents is None else correlation(guess[was_hidden], latents[was_hidden]),
        psnr_db=None if truth is None else float(psnr(pictures, truth).clip(max=_MOST_DB).mean()),
    )
