"""How good guesses are: one number a secret, of each kind of secret; higher is better, and all are finite."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray
from torch import nn

from sfumato.attacks.guesses import (
    AttributeGuess,
    ChoiceGuess,
    Guess,
    LatentGuess,
    PictureGuess,
    PromptGuess,
    SeedGuess,
)
from sfumato.audit.made_runs import Truth
from sfumato.metrics.pictures import psnr
from sfumato.models.decoding import decode, to_uint8
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_decoder, load_tokenizer
from sfumato.models.picture_encoder import PictureEncoder
from sfumato.portraits import VALUES

MOST_DB = 60.0
"""Pictures that agree to the byte count as this."""

Scores = dict[str, Float[np.ndarray, " secret"]]
Bytes = UInt8[np.ndarray, "secret rows columns 3"]
Pixels = Bool[np.ndarray, "rows columns"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What a guess is judged by, beside the truth of the run."""

    truth: Truth
    model: ModelFolder
    candidates: Int[np.ndarray, " secret"] | None
    """Column of the true candidate."""
    outside: Pixels | None
    """Pixels of cells that the clouds did not receive; None where that is nothing, or the whole picture."""


def pictures_of(guess: Guess, model: ModelFolder) -> NDArray[np.uint8] | None:
    """The pictures that a guess says or decodes to; None where it is of another secret."""
    if isinstance(guess, PictureGuess):
        return guess.pictures
    if isinstance(guess, LatentGuess):
        return to_uint8(decode(_decoder(model), guess.latents))
    return None


def judge(guess: Guess, known: Known) -> Scores:
    """Scores a guess by every metric of its secret.

    Pictures: ``psnr`` in dB, the same of what lies outside the clouds' cells (``psnr outside``), and the share of
    ``attributes`` that the bundled encoder reads alike in both. Prompts: ``exact``, and the share of ``tokens`` that
    are right in their place. Attributes that are known of everybody: whether each is right, and their share; nothing
    where none is known. Choices and seeds: whether right.

    Raises:
        ValueError: a guess of another number of secrets.
    """
    pictures = pictures_of(guess, known.model)
    if pictures is not None:
        return score_pictures(pictures, known.truth.pictures, known.outside)
    if isinstance(guess, PromptGuess):
        return _prompts(guess, known)
    if isinstance(guess, AttributeGuess):
        return _attributes(guess.probabilities, known.truth)
    if isinstance(guess, ChoiceGuess):
        return _choices(guess, known)
    if isinstance(guess, SeedGuess):
        right = [seed is not None and seed == known.truth.seed for seed in guess.seeds]
        return {"exact": np.array(right, dtype=np.float64)}
    raise TypeError(f"no metric judges {type(guess).__name__}")


def score_pictures(pictures: Bytes, truth: Bytes, outside: Pixels | None = None) -> Scores:
    """Scores pictures by every metric of a picture.

    Args:
        pictures, truth: in pairs.
        outside: pixels that are scored by themselves, too.

    Raises:
        ValueError: of other shapes.
    """
    if pictures.shape != truth.shape:
        raise ValueError(f"{len(truth)} pictures of shape {truth.shape[1:]} were due, got {pictures.shape}")
    found = {"psnr": _capped(psnr(pictures, truth))}
    if outside is not None and outside.any():
        # A strip of pixels, as a picture of one row.
        found["psnr outside"] = _capped(psnr(pictures[:, outside][:, None], truth[:, outside][:, None]))
    encoder = _encoder()
    read, true = encoder.attributes(pictures), encoder.attributes(truth)
    same = np.stack([read[name].argmax(1) == true[name].argmax(1) for name in read])
    return {**found, "attributes": same.mean(0, dtype=np.float64)}


def _prompts(guess: PromptGuess, known: Known) -> Scores:
    tokenizer = load_tokenizer(known.model, "tokenizer")
    exact, shares = [], []
    for text, true in zip(guess.texts, known.truth.prompts, strict=True):
        own, said = (tokenizer(each).input_ids[1:-1] for each in (true, text))
        exact.append(float(own == said))
        shares.append(sum(a == b for a, b in zip(own, said, strict=False)) / max(1, len(own)))
    return {"exact": np.array(exact), "tokens": np.array(shares, dtype=np.float64)}


def _attributes(probabilities: Mapping[str, NDArray[np.float64]], truth: Truth) -> Scores:
    right = {
        name: np.array(
            [
                VALUES[name][int(row.argmax())] == person[name]
                for row, person in zip(rows, truth.attributes, strict=True)
            ],
            dtype=np.float64,
        )
        for name, rows in probabilities.items()
        if all(name in person for person in truth.attributes)
    }
    return {**right, "all attributes": np.stack(list(right.values())).mean(0)} if right else {}


def _choices(guess: ChoiceGuess, known: Known) -> Scores:
    if known.candidates is None:
        raise ValueError("a guess among candidates needs the true one to be judged: give the view's candidates")
    own = guess.scores[np.arange(len(guess.scores)), known.candidates]
    best = guess.scores.max(1)
    ties = (guess.scores == best[:, None]).sum(1)
    return {"right": np.where(own == best, 1 / ties, 0.0)}


def _capped(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.minimum(values, MOST_DB)


@cache
def _encoder() -> PictureEncoder:
    return PictureEncoder()


@lru_cache(maxsize=2)
def _decoder(model: ModelFolder) -> nn.Module:
    return load_decoder(model)
