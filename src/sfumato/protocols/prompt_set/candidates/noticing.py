"""What a set does not cover: names, places, health and belief, and words that give a value away."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from sfumato.protocols.prompt_set.candidates.ages import numbers
from sfumato.protocols.prompt_set.candidates.detectors import Finding
from sfumato.protocols.prompt_set.candidates.lexicon import Lexicon, english
from sfumato.protocols.prompt_set.candidates.matching import Matches
from sfumato.protocols.prompt_set.candidates.text import Word, key_of

_SENTENCE_ENDS: Final = frozenset(".!?:")


@dataclass(frozen=True)
class Noticed:
    """Words that every candidate shares, and that the cloud reads."""

    words: str
    start: int
    kind: str
    """name, place, health, belief, number (which may be an age), a detector's label, or a type of the taxonomy that the
    words are not covered for."""


@dataclass(frozen=True)
class Correlate:
    """Words that stay in every candidate and fit some values better than others."""

    words: str
    start: int
    type: str
    values: tuple[str, ...]
    covered: bool
    """Whether the set covers the type, so that these words weaken it."""


def notice(text: str, matches: Matches, lexicon: Lexicon, findings: Sequence[Finding] = ()) -> tuple[Noticed, ...]:
    """Sensitive words outside the slots, in order.

    Args:
        text: tidied.
        matches: what the set covers.
        lexicon: the words of the taxonomy.
        findings: what other detectors found.
    """
    taken = [(m.start, m.end) for m in matches.found]
    types = {t.name for t in lexicon.taxonomy.types}
    found = [Noticed(text[f.start : f.end], f.start, f.label) for f in findings if f.label not in types]
    found += [Noticed(text[start:end], start, _type_of(text[start:end], lexicon)) for start, end in matches.of_things]
    found += _single_words(matches, lexicon)
    found += _names(text, matches)
    found += [Noticed(text[start:end], start, "number") for start, end in numbers(text)]
    kept: dict[tuple[int, str], Noticed] = {}
    for item in found:
        end = item.start + len(item.words)
        if not any(item.start < e and s < end for s, e in taken):
            kept.setdefault((item.start, item.words), item)
    return tuple(sorted(kept.values(), key=lambda item: item.start))


def correlates(text: str, matches: Matches, covered: Sequence[str]) -> tuple[Correlate, ...]:
    """Words that fit some values of a type better than the others, in order.

    Args:
        text: tidied.
        matches: what the set covers.
        covered: names of the types with slots.
    """
    found: dict[tuple[int, str, str], list[str]] = {}
    for type, value, pattern in _patterns():
        for m in pattern.finditer(text):
            if not any(m.start() < match.end and match.start < m.end() for match in matches.found):
                found.setdefault((m.start(), m.group(), type), []).append(value)
    items = [
        Correlate(words, start, type, tuple(values), type in covered) for (start, words, type), values in found.items()
    ]
    return tuple(sorted(items, key=lambda item: (item.start, item.type)))


@cache
def _patterns() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    """One pattern for each type and value."""
    return tuple(
        (type, value, _pattern(words))
        for type, values in english().correlates.items()
        for value, words in values.items()
    )


def _pattern(words: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    options = "|".join(re.escape(word).replace("'", "['’]").replace(r"\ ", r"[\s-]+") for word in longest_first)
    return re.compile(rf"(?<!\w)(?:{options})(?!\w)", re.IGNORECASE)


def _type_of(words: str, lexicon: Lexicon) -> str:
    entry = lexicon.entry(key_of(words))
    return entry.type if entry else "age"


def _single_words(matches: Matches, lexicon: Lexicon) -> Iterator[Noticed]:
    for word in matches.words:
        for kind, words in english().noticed.items():
            if word.key.removesuffix("s") in words or word.key in words:
                yield Noticed(word.text, word.start, "place" if kind == "places" else kind)
        if " " in word.key:
            for part in word.key.split():
                entry = lexicon.entry(part)
                if entry and part not in ("kid", "white", "black") and word.key not in english().left_alone:
                    yield Noticed(word.text, word.start, entry.type)


def _names(text: str, matches: Matches) -> Iterator[Noticed]:
    """Runs of capitalised words inside sentences; nothing where every word has a capital."""
    words = [w for w in matches.words if w.text[0].isalpha()]
    capitals = [w for w in words if w.text[0].isupper()]
    if len(words) > 1 and len(capitals) == len(words):
        return
    run = list[Word]()
    for word in [*matches.words, None]:
        if word and _is_name(word, text) and (not run or text[run[-1].end : word.start] == " "):
            run.append(word)
            continue
        if run and not (len(run) == 1 and run[0].key in english().noticed["places"]):
            yield Noticed(text[run[0].start : run[-1].end], run[0].start, "name")
        run = [word] if word and _is_name(word, text) else []


def _is_name(word: Word, text: str) -> bool:
    before = text[: word.start].rstrip().rstrip("\"'“‘(")
    opens_sentence = not before or before[-1] in _SENTENCE_ENDS
    known = english()
    return word.text[0].isupper() and not opens_sentence and word.key not in known.ends and word.key not in known.person
