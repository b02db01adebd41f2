"""Which words of a prompt name an attribute of a person.

Source: ObCLIP (NeurIPS 2025, arXiv 2510.04153) finds attributes by rules and a token classifier; these rules are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sfumato.protocols.prompt_set.candidates.ages import Age, ages
from sfumato.protocols.prompt_set.candidates.lexicon import MOST_WORDS, Entry, Lexicon, Named, Piece, english
from sfumato.protocols.prompt_set.candidates.taxonomy import Kind
from sfumato.protocols.prompt_set.candidates.text import Word, key_of, words_of

_REACH: Final = 6
"""How many words an adjective may be away from its person."""


class _Says(Enum):
    """What an adjective is said of."""

    PERSON = "the person that follows"
    ALONE = "nothing that follows"
    THING = "something that is no person"


@dataclass(frozen=True)
class Match:
    """Some words of the prompt that say something about a person."""

    first: int
    """Place of the first word."""
    last: int
    """Place of the last word."""
    start: int
    """Place of the first character."""
    end: int
    """Place behind the last character."""
    type: str
    pieces: tuple[Piece, ...]
    """In words of the taxonomy; empty where there are none."""
    evidence: tuple[Named, ...] = ()
    """Values that the words give away and that the pieces do not name."""

    @property
    def named(self) -> tuple[Named, ...]:
        """The pieces that name values."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Named))


@dataclass(frozen=True)
class Matches:
    """All that the rules found, in order."""

    words: tuple[Word, ...]
    found: tuple[Match, ...]
    of_things: tuple[tuple[int, int], ...]
    """Spans of words of the taxonomy that are said of no person."""


def find_matches(text: str, lexicon: Lexicon, marked: Sequence[tuple[int, int]] = ()) -> Matches:
    """Applies the rules.

    Args:
        text: tidied.
        lexicon: the words.
        marked: spans that another detector found; a word of the lexicon in one of them counts wherever it stands.
    """
    return _Matching(text, lexicon, marked).run()


class _Matching:
    """One pass over a prompt."""

    def __init__(self, text: str, lexicon: Lexicon, marked: Sequence[tuple[int, int]]) -> None:
        self._text, self._lexicon, self._marked = text, lexicon, marked
        self._words = words_of(text)
        self._ages = {self._at(age.start): age for age in ages(text)} if self._has_ages() else {}
        self._of_things: list[tuple[int, int]] = []

    def _has_ages(self) -> bool:
        return any(t.name == "age" for t in self._lexicon.taxonomy.types)

    def run(self) -> Matches:
        """Reads from left to right, the longest phrase first."""
        found, at = list[Match](), 0
        while at < len(self._words):
            match, length = self._next(at, found[-1] if found else None)
            if match:
                found.append(match)
            at += length
        return Matches(tuple(self._words), tuple(found), tuple(self._of_things))

    def _next(self, at: int, before: Match | None) -> tuple[Match | None, int]:
        if at in self._ages and (length := self._length(self._ages[at])):
            return self._from_age(self._ages[at], at, at + length - 1), length
        for length in range(min(MOST_WORDS, len(self._words) - at), 0, -1):
            key = self._key(at, length)
            if key is None:
                continue
            if key in english().left_alone:
                return None, length
            if entry := self._lexicon.entry(key):
                return self._from_entry(entry, at, at + length - 1, before), length
        if forms := self._lexicon.pronouns.get(self._words[at].key):
            return self._match(at, at, next(iter(forms.values())).row.type, (self._pronoun(forms, at),)), 1
        return None, 1

    def _from_age(self, age: Age, first: int, last: int) -> Match | None:
        says = _Says.ALONE if age.follows else self._said_of(last, strict=False)
        if says is _Says.THING:
            self._of_thing(first, last)
            return None
        is_noun = says is _Says.ALONE and not age.follows and (self._opens_noun(first) or self._owns(age.end))
        pieces = self._age_pieces(age, as_phrase=says is _Says.ALONE and not is_noun)
        if pieces and is_noun:
            pieces = (*pieces, "people" if age.plural else "person")
        evidence = tuple(self._lexicon.pronouns.get(age.whose, {}).values())[:1]
        return Match(first, last, self._words[first].start, age.end, "age", pieces, evidence)

    def _age_pieces(self, age: Age, *, as_phrase: bool) -> tuple[Piece, ...]:
        if age.value is None:
            return ()
        phrase = f"of {age.value.removesuffix('-aged')} age" if as_phrase else age.value
        entry = self._lexicon.entry(key_of(phrase)) or self._lexicon.entry(key_of(age.value))
        return entry.pieces if entry else ()

    def _from_entry(self, entry: Entry, first: int, last: int, before: Match | None) -> Match | None:
        if any(piece.row.kind is Kind.PHRASE for piece in entry.named):
            return self._match(first, last, entry.type, entry.pieces)
        if entry.is_person:
            only_adjective = all(isinstance(p, str) or p.row.kind is Kind.ADJECTIVE for p in entry.pieces)
            pieces = entry.pieces
            if only_adjective and self._person_is_next(last):
                pieces = entry.named
            return self._match(first, last, entry.type, pieces)
        says = self._said_of(last, strict=entry.strict)
        alone = says is _Says.ALONE and not entry.strict and self._stands_alone(first, before)
        if says is _Says.PERSON or alone or self._is_marked(first, last):
            return self._match(first, last, entry.type, entry.pieces)
        if not entry.strict:  # "black hair"
            self._of_thing(first, last)
        return None

    def _match(self, first: int, last: int, type: str, pieces: tuple[Piece, ...]) -> Match:
        return Match(first, last, self._words[first].start, self._words[last].end, type, pieces)

    def _of_thing(self, first: int, last: int) -> None:
        self._of_things.append((self._words[first].start, self._words[last].end))

    def _is_marked(self, first: int, last: int) -> bool:
        start, end = self._words[first].start, self._words[last].end
        return any(start < marked_end and marked_start < end for marked_start, marked_end in self._marked)

    def _said_of(self, last: int, *, strict: bool) -> _Says:
        """Looks for the person that an adjective before it describes."""
        known, otherwise, has_comma = english(), _Says.ALONE if self._ends_after(last) else _Says.THING, False
        for at in range(last + 1, min(last + 1 + _REACH, len(self._words))):
            gap, key, is_nearest = self._gap(at).strip(), self._words[at].key, at == last + 1
            if gap and (gap != "," or not is_nearest or strict):
                return otherwise
            has_comma = has_comma or bool(gap)
            if self._is_person(at) or (not strict and not has_comma and key in known.body):
                return _Says.PERSON
            if key in known.ends and (strict or not is_nearest or key not in known.joining):
                return otherwise
        return otherwise

    def _ends_after(self, last: int) -> bool:
        """Whether nothing follows that an adjective could describe."""
        if last + 1 >= len(self._words) or self._gap(last + 1).strip():
            return True
        known = english()
        return self._words[last + 1].key in known.after_adjective

    def _stands_alone(self, first: int, before: Match | None) -> bool:
        """Whether an adjective with nothing behind it may be a person's: "a woman, old", "she is old", "the old"."""
        if first == 0 or self._gap(first).strip() or self._is_determined(first):
            return True
        known, key = english(), self._words[first - 1].key
        is_after_attribute = before is not None and before.last == first - 1
        return is_after_attribute or key in known.before_adjective or self._is_person(first - 1)

    def _is_determined(self, first: int) -> bool:
        return first > 0 and self._words[first - 1].key in english().determiners

    def _opens_noun(self, first: int) -> bool:
        """Whether the words before call for a noun: "an 18-year-old", "an African 18-year-old"."""
        before = self._lexicon.entry(self._words[first - 1].key) if first else None
        is_adjective = before is not None and not before.is_person and not self._gap(first).strip()
        return is_adjective or self._is_determined(first)

    def _owns(self, end: int) -> bool:
        return self._text[end : end + 2] in ("'s", "’s")

    def _is_person(self, at: int) -> bool:
        if at in self._ages and not self._ages[at].follows:
            return True
        return any(
            key is not None and self._lexicon.is_person(key)
            for key in (self._key(at, length) for length in range(min(MOST_WORDS, len(self._words) - at), 0, -1))
        )

    def _person_is_next(self, last: int) -> bool:
        return last + 1 < len(self._words) and not self._gap(last + 1).strip() and self._is_person(last + 1)

    def _pronoun(self, forms: dict[str, Named], at: int) -> Named:
        """Her or him, his or hers: by what follows, so that both genders are read alike."""
        first = next(iter(forms.values()))
        if first.row.pronoun in ("subject", "reflexive"):
            return first
        form = "possessive" if self._noun_follows(at) else "independent" if "independent" in forms else "object"
        row = next(
            (
                candidate
                for candidate in self._lexicon.taxonomy.type(first.row.type).rows
                if candidate.kind is Kind.PRONOUN and candidate.pronoun == form
            ),
            first.row,
        )
        return Named(row, first.value)

    def _noun_follows(self, at: int) -> bool:
        if at + 1 >= len(self._words) or self._gap(at + 1).strip():
            return False
        key, known = self._words[at + 1].key, english()
        follows = self._ages.get(at + 1)
        return key not in known.ends and not (follows and follows.follows)

    def _gap(self, at: int) -> str:
        """What stands before a word."""
        return self._text[self._words[at - 1].end : self._words[at].start] if at else ""

    def _key(self, at: int, length: int) -> str | None:
        words = self._words[at : at + length]
        if any(self._gap(at + i).strip(" ") not in ("", "'", "’") for i in range(1, length)):
            return None
        return " ".join(word.key for word in words)

    def _at(self, start: int) -> int:
        return next(i for i, word in enumerate(self._words) if word.end > start)

    def _length(self, age: Age) -> int:
        at = self._at(age.start)
        return sum(1 for word in self._words[at:] if word.start < age.end)
