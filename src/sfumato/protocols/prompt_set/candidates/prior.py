"""How many candidates are left for a reader who knows what people usually write.

A cloud's posterior over the set is its prior over the set: 1/N only where all candidates are equally usual.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise
from math import exp, log
from typing import Any, Final, Protocol, runtime_checkable

from sfumato.protocols.prompt_set.candidates.lexicon import english, lexicon
from sfumato.protocols.prompt_set.candidates.taxonomy_files import default_taxonomy
from sfumato.protocols.prompt_set.candidates.text import key_of, words_of

BEGIN: Final = "<s>"
END: Final = "</s>"
_WEIGHT: Final = 1000.0
"""Of the single words' frequencies, as if so many pairs had been seen."""
_UNSEEN: Final = 0.5
"""Count that is added to every word of the vocabulary."""
_LEAST_PROBABILITY: Final = 1e-12


@runtime_checkable
class Scorer(Protocol):
    """A language model, as a prior over prompts."""

    def log_likelihoods(self, prompts: Sequence[str]) -> Sequence[float]:
        """Natural logarithms, one a prompt, up to a common constant."""
        ...


def posterior(prompts: Sequence[str], scorer: Scorer | None = None) -> tuple[float, ...]:
    """The probability of each candidate for a reader of the set: the prior, restricted to it.

    Args:
        prompts: the whole set.
        scorer: the prior; the default is the bundled one.

    Raises:
        ValueError: the scorer gives another number of scores.
    """
    scores = list((scorer or bundled_prior()).log_likelihoods(prompts))
    if len(scores) != len(prompts) or not prompts:
        raise ValueError(f"a scorer must give one number a prompt, got {len(scores)} for {len(prompts)} prompts")
    highest = max(scores)
    weights = [exp(score - highest) for score in scores]
    return tuple(weight / sum(weights) for weight in weights)


def effective_candidates(probabilities: Sequence[float]) -> float:
    """Two to the min-entropy: as many equally likely candidates would be as hard to guess, from 1 to N."""
    return 1 / max(probabilities)


class WordPairs:
    """A bigram model of texts from which all words outside a small vocabulary were dropped.

    Source: MacKay and Peto 1995, "A hierarchical Dirichlet language model", Natural Language Engineering 1(3):
    single words as the prior of what follows a word, with a fixed weight.

    Args:
        pairs: how often two words are neighbours.
        vocabulary: the words that count.
    """

    def __init__(self, pairs: Mapping[tuple[str, str], int], vocabulary: frozenset[str]) -> None:
        self._pairs, self._vocabulary = pairs, vocabulary
        self._behind, self._single = Counter[str](), Counter[str]()
        for (first, second), count in pairs.items():
            self._behind[first] += count
            self._single[second] += count
        self._all = self._single.total() + _UNSEEN * (len(vocabulary) + 1)

    def log_likelihoods(self, prompts: Sequence[str]) -> Sequence[float]:
        """One number a prompt; words outside the vocabulary count nothing."""
        return [self._log_likelihood(prompt) for prompt in prompts]

    def probability(self, first: str, second: str) -> float:
        """Of a word, or the end, behind another or the beginning."""
        single = (self._single[second] + _UNSEEN) / self._all
        return (self._pairs.get((first, second), 0) + _WEIGHT * single) / (self._behind[first] + _WEIGHT)

    def _log_likelihood(self, prompt: str) -> float:
        words = [BEGIN, *kept_words(prompt, self._vocabulary), END]
        return sum(log(self.probability(a, b)) for a, b in pairwise(words))


class MaskedLanguageModel:
    """A masked language model as a prior: each word is covered in turn, and its probability taken.

    Source: Salazar et al. 2020, "Masked Language Model Scoring", arXiv 1910.14659, equation 1; by words rather than
    by pieces, where a word of several pieces counts as its first.

    Args:
        fill: takes a text with one mask and the words to score there, and returns dicts with score, as
            ``transformers.pipeline("fill-mask")`` does.
        mask: the model's mask.
    """

    def __init__(self, fill: Callable[..., Sequence[Mapping[str, Any]]], mask: str) -> None:
        self._fill, self._mask = fill, mask

    @classmethod
    def from_pretrained(cls, name: str) -> "MaskedLanguageModel":
        """Loads a model of transformers: a folder or a model of the hub."""
        from transformers import pipeline

        loaded: Any = pipeline("fill-mask", model=name)
        return cls(loaded, str(loaded.tokenizer.mask_token))

    def log_likelihoods(self, prompts: Sequence[str]) -> Sequence[float]:
        """Pseudo-log-likelihoods."""
        return [sum(self._each_word(prompt)) for prompt in prompts]

    def _each_word(self, prompt: str) -> Iterable[float]:
        for word in words_of(prompt):
            masked = prompt[: word.start] + self._mask + prompt[word.end :]
            score = float(self._fill(masked, targets=[word.text])[0]["score"])
            yield log(max(score, _LEAST_PROBABILITY))


def kept_words(text: str, vocabulary: frozenset[str]) -> list[str]:
    """The words of a text that the model knows, in order."""
    return [key for word in words_of(text) if (key := word.key) in vocabulary]


@cache
def prior_vocabulary() -> frozenset[str]:
    """The words that the bundled model counts: the attributes', people and what goes with them."""
    known = english()
    words = {key_of(form) for t in default_taxonomy().types for row in t.rows for form in row.forms}
    return frozenset(words | lexicon(default_taxonomy()).words() | known.person | known.context) - {"of", "age"}


@cache
def bundled_prior() -> WordPairs:
    """Counted by training/prompt_prior.py in captions and prompts; docs/protocols/prompt-set.md says which."""
    table = files(__package__).joinpath("prior.tsv").read_text(encoding="utf-8")
    lines = [line.split("\t") for line in table.splitlines() if line and not line.startswith("#")]
    return WordPairs({(first, second): int(count) for first, second, count in lines}, prior_vocabulary())
