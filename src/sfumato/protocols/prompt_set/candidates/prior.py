"""How many candidates are left for a reader who knows what people usually write.

A cloud's posterior over the set is its prior over the set: 1/N only where all candidates are equally usual.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from math import exp, log
from typing import Any, Final, Protocol, runtime_checkable

from sfumato.protocols.prompt_set.candidates.lexicon import english
from sfumato.protocols.prompt_set.candidates.taxonomy_files import default_taxonomy
from sfumato.protocols.prompt_set.candidates.text import key_of, words_of

BEGIN: Final = "<s>"
END: Final = "</s>"
ANY: Final = "*"
THEN: Final = "then"
WORDED: Final = "worded"
WITH: Final = "with"
_VALUES_WEIGHT: Final = 300.0
"""Of the frequencies of single values, as if so many pairs had been seen."""
_WITH_WEIGHT: Final = 300.0
"""Of a word's frequency in all prompts, as if so many prompts with the value had been seen."""
_UNSEEN: Final = 0.5
"""Count that is added to everything."""
_LEAST_PROBABILITY: Final = 1e-12
Event = tuple[str, str, str]


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


class CountedPrior:
    """A bigram model of the values that a prompt names, with the words that go with them.

    A prompt's likelihood is that of the sequence of its values, times that of each value's wording, times, for each
    other word that counts, how much more often it stands in prompts with these values than in all. Rare counts are
    drawn towards those of single words.

    Source: for the smoothing, MacKay and Peto 1995, "A hierarchical Dirichlet language model", Natural Language
    Engineering 1(3); that values are independent in what they go with is our simplification.

    Args:
        counts: triples and how often they were seen, as `events` lists them.
    """

    def __init__(self, counts: Mapping[Event, int]) -> None:
        self._counts, self._totals = counts, Counter[tuple[str, str]]()
        for (kind, first, second), count in counts.items():
            self._totals[kind, first] += count
            self._totals[kind, ANY] += count if kind == THEN else 0
            self._totals["single", second] += count if kind == THEN else 0

    def log_likelihoods(self, prompts: Sequence[str]) -> Sequence[float]:
        """One number a prompt; words outside the vocabulary count nothing."""
        return [sum(self._log(event) for event in events(prompt)) for prompt in prompts]

    def _log(self, event: Event) -> float:
        match event:
            case ("then", first, second):
                return log(self.following(first, second))
            case ("worded", value, word):
                return log(self.wording(value, word))
            case ("with", value, word) if value != ANY and word != ANY:
                return log(self.lift(value, word))
        return 0.0

    def following(self, first: str, second: str) -> float:
        """The probability of a value, or the end, behind another or the beginning."""
        number = len(value_words().by_value) + 1
        single = (self._totals["single", second] + _UNSEEN) / (self._totals[THEN, ANY] + _UNSEEN * number)
        seen = self._counts.get((THEN, first, second), 0)
        return (seen + _VALUES_WEIGHT * single) / (self._totals[THEN, first] + _VALUES_WEIGHT)

    def wording(self, value: str, word: str) -> float:
        """The probability that a value is named by this word."""
        number = len(value_words().by_value[value])
        return (self._counts.get((WORDED, value, word), 0) + _UNSEEN) / (self._totals[WORDED, value] + _UNSEEN * number)

    def lift(self, value: str, word: str) -> float:
        """How many times as often a word stands in prompts with a value as in all."""
        everywhere = (self._counts.get((WITH, ANY, word), 0) + _UNSEEN) / (self._counts.get((WITH, ANY, ANY), 0) + 1)
        there = self._counts.get((WITH, value, word), 0) + _WITH_WEIGHT * everywhere
        return there / (self._counts.get((WITH, value, ANY), 0) + _WITH_WEIGHT) / everywhere


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


@dataclass(frozen=True)
class ValueWords:
    """The built-in taxonomy's words, by single words."""

    by_word: Mapping[str, str]
    """A word and the value that it names, such as gender=female."""
    by_value: Mapping[str, frozenset[str]]


@cache
def value_words() -> ValueWords:
    """Every word of every row of the built-in taxonomy that names one value by itself."""
    by_word: dict[str, str] = {"middle": "age=middle-aged"}
    for t in default_taxonomy().types:
        for form, value in ((form, value) for row in t.rows for form, value in zip(row.forms, t.values, strict=True)):
            if len(words_of(form)) == 1:
                by_word[key_of(form)] = f"{t.name}={value}"
    values = {value: frozenset(word for word, v in by_word.items() if v == value) for value in by_word.values()}
    return ValueWords(by_word, values)


@cache
def context_words() -> frozenset[str]:
    """The other words that count: what people are, do and wear."""
    return (english().person | english().context).difference(value_words().by_word)


def events(prompt: str) -> list[Event]:
    """All that the model counts in a prompt: value behind value, the wording of each, and what they go with."""
    known, keys = value_words().by_word, [word.key for word in words_of(prompt)]
    named = [(known[key], key) for key in keys if key in known]
    values = [BEGIN, *(value for value, _ in named), END]
    others, different = {key for key in keys if key in context_words()}, {ANY, *values[1:-1]}
    return [
        *((THEN, first, second) for first, second in pairwise(values)),
        *((WORDED, value, word) for value, word in named),
        *((WITH, value, word) for value in sorted(different) for word in [ANY, *sorted(others)]),
    ]


@cache
def bundled_prior() -> CountedPrior:
    """Counted by training/prompt_prior.py in captions and prompts; docs/protocols/prompt-set.md says which."""
    table = files(__package__).joinpath("prior.tsv").read_text(encoding="utf-8")
    lines = [line.split("\t") for line in table.splitlines() if line and not line.startswith("#")]
    return CountedPrior({(kind, first, second): int(count) for kind, first, second, count in lines})
