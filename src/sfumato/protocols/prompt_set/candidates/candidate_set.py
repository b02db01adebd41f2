"""The set of prompts that a cloud reads in place of one.

Source: ObCLIP (NeurIPS 2025, arXiv 2510.04153). Unlike there the set is canonical: normalised, sorted, and built
again from every member before it is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Final, Literal

from sfumato.errors import ClaimError
from sfumato.protocols.prompt_set.candidates.detectors import Detector, Finding
from sfumato.protocols.prompt_set.candidates.lexicon import Lexicon, Named, lexicon
from sfumato.protocols.prompt_set.candidates.matching import Match, Matches, find_matches
from sfumato.protocols.prompt_set.candidates.noticing import Correlate, Noticed, correlates, notice
from sfumato.protocols.prompt_set.candidates.taxonomy import Taxonomy
from sfumato.protocols.prompt_set.candidates.taxonomy_files import default_taxonomy
from sfumato.protocols.prompt_set.candidates.template import Template, make_template
from sfumato.protocols.prompt_set.candidates.text import tidy

OnNoAttribute = Literal["refuse", "plain"]
MAX_CANDIDATES: Final = 32
PIVOT: Final = 0
"""Place of the candidate whose attention map is used for all: the first, whichever is the client's own."""
_MOST_ROUNDS: Final = 4


@dataclass(frozen=True)
class Covered:
    """Words of the prompt that the set hides the value of."""

    words: str
    start: int
    type: str
    value: str


@dataclass(frozen=True, kw_only=True)
class CandidateSet:
    """One prompt hidden among N.

    ``prompts`` is all that may leave the client; it is the same whichever of them was meant, and however its
    attributes were worded.
    """

    prompt: str
    """The user's own wording, for the client's stage."""
    prompts: tuple[str, ...]
    """What the cloud reads, sorted."""
    index: int
    """Which of them is the client's own: secret."""
    values: tuple[tuple[str, str], ...]
    """Each covered type and its own value: secret."""
    covered: tuple[Covered, ...]
    not_covered: tuple[Noticed, ...]
    correlates: tuple[Correlate, ...]

    @property
    def own(self) -> str:
        """The client's candidate, in words of the taxonomy."""
        return self.prompts[self.index]

    @property
    def types(self) -> tuple[str, ...]:
        """Names of the covered types."""
        return tuple(type for type, _ in self.values)


def candidate_set(
    prompt: str,
    *,
    taxonomy: Taxonomy | None = None,
    max_candidates: int = MAX_CANDIDATES,
    on_no_attribute: OnNoAttribute = "refuse",
    detectors: Sequence[Detector] = (),
) -> CandidateSet:
    """Builds the set of a prompt.

    Run by: client.

    One set holds one choice of values: several people are fine as long as they share each value that the prompt names.

    Args:
        prompt: what the picture is to show.
        taxonomy: the attributes to hide; the default are gender, age and ethnicity.
        max_candidates: larger sets are refused.
        on_no_attribute: what to do with a prompt that names no attribute; with ``plain`` its set is the prompt alone,
            and hides nothing.
        detectors: asked besides the rules.

    Raises:
        ValueError: the prompt is empty, names no attribute, contradicts itself or uses words that cannot be normalised,
            or its set is too large. The sentence names the user's own words: show it to no one else.
        ClaimError: another member of the set would be read otherwise, so that the set would give the prompt away.

    Example:
        >>> candidate_set("a smiling man").prompts
        ('a smiling man', 'a smiling woman')
    """
    words = lexicon(taxonomy or default_taxonomy())
    text = tidy(prompt)
    if not text:
        raise ValueError("the prompt is empty: say what the picture is to show")
    if max_candidates < 2:
        raise ValueError(f"max_candidates must be at least 2, got {max_candidates}: a smaller set hides nothing")
    reading = _Reading(text, words, detectors)
    template, values = _settled(reading, words, detectors)
    if not template.types:
        return _without_attribute(reading, prompt, on_no_attribute)
    _check_size(template, words.taxonomy, max_candidates)
    chosen = {type: values[type] for type in template.types}
    texts = _fill(template, words.taxonomy)
    _check_members(template, texts, words, detectors)
    own = template.fill(chosen)
    prompts = tuple(sorted(texts))
    return CandidateSet(
        prompt=prompt,
        prompts=prompts,
        index=prompts.index(own),
        values=tuple((type, words.taxonomy.type(type).values[value]) for type, value in sorted(chosen.items())),
        covered=reading.covered(template.types),
        not_covered=reading.not_covered(),
        correlates=correlates(text, reading.matches, template.types),
    )


def own_words(prompt: str, taxonomy: Taxonomy | None = None) -> str | None:
    """The prompt in words of the taxonomy, without those that are said of no person; None where it names no attribute.

    Raises:
        ValueError: it contradicts itself or uses words that cannot be normalised.
    """
    words = lexicon(taxonomy or default_taxonomy())
    reading = _Reading(tidy(prompt), words, ())
    template, values = _settled(reading, words, ())
    if not template.types:
        return None
    text = template.fill(values)
    for start, end in reversed(find_matches(text, words).of_things):
        text = text[:start] + text[end:]
    return text


class _Reading:
    """A prompt as the detectors read it."""

    def __init__(self, text: str, words: Lexicon, detectors: Sequence[Detector]) -> None:
        self.text, self._words = text, words
        self._findings = tuple(finding for detector in detectors for finding in detector.find(text))
        types = {t.name for t in words.taxonomy.types}
        marked = tuple((f.start, f.end) for f in self._findings if f.label in types)
        self.matches: Matches = find_matches(text, words, marked)
        for finding in self._findings:
            if finding.label in types:
                self._check_covered(finding)

    def own_values(self) -> dict[str, int]:
        """The value of each type that the prompt names.

        Raises:
            ValueError: a word belongs to no value, or two words name different ones.
        """
        named: dict[str, tuple[int, str]] = {}
        for match in self.matches.found:
            words = self.text[match.start : match.end]
            if not match.pieces:
                raise ValueError(self._cannot_normalise(match.type, words))
            for says in (*match.named, *match.evidence):
                before = named.setdefault(says.row.type, (says.value, words))
                if before[0] != says.value:
                    raise ValueError(self._contradiction(says, before, words))
        return {type: value for type, (value, _) in named.items()}

    def template(self) -> Template:
        """The prompt with slots."""
        return make_template(self.text, self.matches)

    def covered(self, types: Sequence[str]) -> tuple[Covered, ...]:
        """The words that the set replaces, and those that it drops."""
        return tuple(
            Covered(self.text[m.start : m.end], m.start, named.row.type, self._value(named))
            for m in self.matches.found
            for named in _each_type(m)
            if named.row.type in types
        )

    def not_covered(self) -> tuple[Noticed, ...]:
        """Sensitive words that stay."""
        return notice(self.text, self.matches, self._words, self._findings)

    def _value(self, named: Named) -> str:
        return self._words.taxonomy.type(named.row.type).values[named.value]

    def _check_covered(self, finding: Finding) -> None:
        if not any(m.start < finding.end and finding.start < m.end for m in self.matches.found):
            raise ValueError(self._cannot_normalise(finding.label, self.text[finding.start : finding.end]))

    def _cannot_normalise(self, type: str, words: str) -> str:
        values = ", ".join(self._words.taxonomy.type(type).values)
        return (
            f"{words!r} fits no value of {type} ({values}), and would show which prompt is meant: use one of these, "
            "leave it out, or add words with a taxonomy file"
        )

    def _contradiction(self, says: Named, before: tuple[int, str], words: str) -> str:
        values = self._words.taxonomy.type(says.row.type).values
        return (
            f"the prompt names two values of {says.row.type}, {values[before[0]]} ({before[1]!r}) and "
            f"{values[says.value]} ({words!r}): a set has one for all people in the picture, so keep one of them"
        )


def _each_type(match: Match) -> tuple[Named, ...]:
    """One of the named values of each type."""
    return tuple({named.row.type: named for named in (*match.named, *match.evidence)}.values())


def _settled(reading: _Reading, words: Lexicon, detectors: Sequence[Detector]) -> tuple[Template, dict[str, int]]:
    """Reads the prompt in its new wording until nothing changes any more; words may come to stand beside a person.

    Returns:
        The template, and the own value of each type.
    """
    template, values = reading.template(), reading.own_values()
    for _ in range(_MOST_ROUNDS):
        again = _Reading(template.fill(values), words, detectors)
        if again.template() == template:
            break
        template, values = again.template(), {**values, **again.own_values()}
    return template, values


def _fill(template: Template, taxonomy: Taxonomy) -> list[str]:
    numbers = [range(len(taxonomy.type(type).values)) for type in template.types]
    return [template.fill(dict(zip(template.types, choice, strict=True))) for choice in product(*numbers)]


def _check_members(template: Template, texts: list[str], words: Lexicon, detectors: Sequence[Detector]) -> None:
    """Builds the set from each of its members: all must give the same.

    Raises:
        ClaimError: one does not.
    """
    stable = len(set(texts)) == len(texts)
    for text in texts if stable else ():
        reading = _Reading(text, words, detectors)
        stable = stable and tidy(text) == text and reading.template() == template and _agrees(reading)
    if not stable:
        raise ClaimError(
            "the sets of two candidates would differ and so give the prompt away: word the prompt's attributes more "
            "plainly, such as 'an old Asian woman'"
        )


def _agrees(reading: _Reading) -> bool:
    try:
        reading.own_values()
    except ValueError:
        return False
    return True


def _check_size(template: Template, taxonomy: Taxonomy, max_candidates: int) -> None:
    sizes = {type: len(taxonomy.type(type).values) for type in template.types}
    number = prod(sizes.values())
    if number <= max_candidates:
        return
    dropped = _to_drop(sizes, max_candidates)
    left = prod(size for type, size in sizes.items() if type not in dropped)
    advice = f"leave {' and '.join(dropped)} out of the prompt for {left}, or raise" if left > 1 else "raise"
    raise ValueError(
        f"the set would have {number} candidates ({' x '.join(f'{type} {size}' for type, size in sizes.items())}), and "
        f"max_candidates is {max_candidates}: {advice} max_candidates"
    )


def _to_drop(sizes: dict[str, int], max_candidates: int) -> list[str]:
    """The fewest types without which the set is small enough; the one that leaves most, where several do."""
    dropped: list[str] = []
    while (number := prod(size for type, size in sizes.items() if type not in dropped)) > max_candidates:
        kept = [type for type in sizes if type not in dropped]
        enough = [type for type in kept if number // sizes[type] <= max_candidates]
        dropped.append(min(enough, key=sizes.__getitem__) if enough else max(kept, key=sizes.__getitem__))
    return dropped


def _without_attribute(reading: _Reading, prompt: str, on_no_attribute: OnNoAttribute) -> CandidateSet:
    if on_no_attribute == "refuse":
        raise ValueError(
            "the prompt names no attribute that a set could hide: name one of a person, or send it as it is with "
            "on_no_attribute=plain"
        )
    return CandidateSet(
        prompt=prompt,
        prompts=(reading.text,),
        index=0,
        values=(),
        covered=(),
        not_covered=reading.not_covered(),
        correlates=correlates(reading.text, reading.matches, ()),
    )
