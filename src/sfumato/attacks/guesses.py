"""What an attack may say about a run: a guess of one secret, never a judgement."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from sfumato.tensors import Latent, TokenEmbeddings


class Secret(StrEnum):
    """What only the client knows."""

    PICTURE = "picture"
    PROMPT = "prompt"
    ATTRIBUTES = "attributes"
    """Of the person that the prompt describes; see ``portraits.attributes.VALUES``."""
    CHOICE = "choice"
    """Which of several texts was meant; in ``prompt-set`` the index of the own prompt."""
    SEED = "seed"


@dataclass(frozen=True, kw_only=True, eq=False)
class Guess:
    """What an attack says, about every picture of the run in their order."""

    finding: str
    """What was recovered and how, in one sentence without any of it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentGuess(Guess):
    """The picture, as latents."""

    latents: Latent
    """After the last step, in the units of the scheduler."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureGuess(Guess):
    """The picture itself."""

    pictures: UInt8[np.ndarray, "batch height width 3"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptGuess(Guess):
    """The words."""

    texts: tuple[str, ...]
    embeds: TokenEmbeddings | None = None
    """The text embedding, where it was recovered."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeGuess(Guess):
    """How likely each value of each attribute is."""

    probabilities: Mapping[str, NDArray[np.float64]]
    """(batch, value) for each attribute; rows sum to 1, and values have the order of ``VALUES``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ChoiceGuess(Guess):
    """How well each candidate explains what was seen."""

    scores: Float[np.ndarray, "batch candidate"]
    """Higher is likelier: log-likelihoods up to a factor and a constant of each row."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SeedGuess(Guess):
    """The seed, or None where none was found."""

    seeds: tuple[int | None, ...]
