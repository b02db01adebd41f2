"""Every word that the rules know, compiled for looking up."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Final

from sfumato.protocols.prompt_set.candidates.taxonomy import Kind, Row, Taxonomy
from sfumato.protocols.prompt_set.candidates.text import Word, key_of, words_of

_LOOKING: Final = " looking"
MOST_WORDS: Final = 4
"""Longest phrase of the lexicon, in words."""


@dataclass(frozen=True)
class Named:
    """A word that names a value."""

    row: Row
    value: int
    """Its place among the type's values."""

    @property
    def form(self) -> str:
        """The word itself."""
        return self.row.forms[self.value]


Piece = Named | str
"""A word that names a value, or one that is the same for all."""


@dataclass(frozen=True)
class Entry:
    """What a word or phrase of the lexicon says."""

    pieces: tuple[Piece, ...]
    """In words of the taxonomy; empty where the word belongs to no value."""
    type: str
    """The type that lists it."""
    strict: bool = False
    """Counts right before a person only."""

    @property
    def named(self) -> tuple[Named, ...]:
        """The pieces that name values."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Named))

    @property
    def is_person(self) -> bool:
        """Whether it stands for a person by itself."""
        return any(isinstance(p, str) or p.row.kind is Kind.NOUN for p in self.pieces)


@dataclass(frozen=True)
class English:
    """Words around the attributes."""

    person: frozenset[str]
    body: frozenset[str]
    determiners: frozenset[str]
    stops: frozenset[str]
    joining: frozenset[str]
    copulas: frozenset[str]
    doing: frozenset[str]
    context: frozenset[str]
    """Further words that the prior counts."""
    left_alone: frozenset[str]
    correlates: Mapping[str, Mapping[str, Sequence[str]]]
    """Type to value to words that fit this value better."""
    noticed: Mapping[str, frozenset[str]]
    """Kind of sensitive word to such words."""

    @cached_property
    def ends(self) -> frozenset[str]:
        """Words that no adjective reaches over."""
        return self.stops | self.determiners

    @cached_property
    def after_adjective(self) -> frozenset[str]:
        """Words before which an adjective stands alone."""
        return self.ends | self.doing

    @cached_property
    def before_adjective(self) -> frozenset[str]:
        """Words behind which it does."""
        return self.copulas | self.joining


@cache
def english() -> English:
    """The bundled words."""
    content: dict[str, Any] = tomllib.loads(files(__package__).joinpath("english.toml").read_text(encoding="utf-8"))
    sets = {
        name: frozenset(content[name].split())
        for name in English.__dataclass_fields__
        if isinstance(content[name], str)
    }
    return English(
        **sets,
        left_alone=frozenset(key_of(phrase) for phrase in content["left_alone"]),
        correlates=content["correlates"],
        noticed={kind: frozenset(words.split()) for kind, words in content["noticed"].items()},
    )


class Lexicon:
    """Words and phrases of a taxonomy.

    Raises:
        ValueError: a word names two values, or is taken for words that the taxonomy does not have.
    """

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.taxonomy = taxonomy
        self._entries: dict[str, Entry] = {}
        self.pronouns: dict[str, dict[str, Named]] = {}
        """Pronoun to grammatical form to what it names; "her" has two."""
        for row in (row for t in taxonomy.types for row in t.rows):
            self._add_row(row)
        for t in taxonomy.types:
            for word, taken_for in t.words.items():
                self._add_word(word, taken_for, t.name)
            for word in t.unlisted:
                self._entries.setdefault(key_of(word), Entry((), t.name, key_of(word) in t.strict))

    def entry(self, key: str) -> Entry | None:
        """What a word says; "Asian-looking" says what "Asian" does."""
        return self._entries.get(key) or self._entries.get(key.removesuffix(_LOOKING))

    def words(self) -> frozenset[str]:
        """Every single word of every row."""
        forms = [form for t in self.taxonomy.types for row in t.rows for form in row.forms]
        return frozenset(word.text.lower() for form in forms for word in words_of(form))

    def is_person(self, key: str) -> bool:
        """Whether a word stands for a person."""
        entry = self._entries.get(key)
        return key in english().person or (entry is not None and entry.is_person)

    def _add_row(self, row: Row) -> None:
        strict = self.taxonomy.type(row.type).strict
        for value, form in enumerate(row.forms):
            named, key = Named(row, value), key_of(form)
            if row.kind is Kind.PRONOUN:
                self.pronouns.setdefault(key, {})[row.pronoun] = named
            elif key in self._entries:
                raise ValueError(f"the taxonomy has the word {form!r} twice: a word must name one value of one type")
            else:
                self._entries[key] = Entry((named,), row.type, key in strict)

    def _add_word(self, word: str, taken_for: str, type: str) -> None:
        pieces = self._pieces(taken_for)
        entry = Entry(pieces, type, key_of(word) in self.taxonomy.type(type).strict)
        if not any(named.row.type == type for named in entry.named):
            raise ValueError(
                f"the taxonomy takes {word!r} for {taken_for!r}, which names no value of {type!r}: use one of its words"
            )
        if key_of(word) in self._entries and self._entries[key_of(word)].pieces != pieces:
            raise ValueError(f"the taxonomy has the word {word!r} twice: a word must name one value of one type")
        self._entries[key_of(word)] = entry
        plural = self._plural(pieces)
        if plural and not entry.strict and word[-1] in "aeiknrt":
            self._entries.setdefault(f"{key_of(word)}s", Entry((plural,), type))

    def _plural(self, pieces: tuple[Piece, ...]) -> Named | None:
        match pieces:
            case (Named(row=row, value=value),) if row.kind is Kind.ADJECTIVE and row.countable:
                found = self._entries.get(key_of(f"{row.forms[value]}s"))
                return found.named[0] if found else None
        return None

    def _pieces(self, text: str) -> tuple[Piece, ...]:
        words, pieces, at = words_of(text), list[Piece](), 0
        while at < len(words):
            entry, length = self._longest(words, at)
            pieces.append(entry.pieces[0] if entry else words[at].text)
            at += length
        return tuple(pieces)

    def _longest(self, words: list[Word], at: int) -> tuple[Entry | None, int]:
        for length in range(min(MOST_WORDS, len(words) - at), 0, -1):
            entry = self._entries.get(" ".join(word.key for word in words[at : at + length]))
            if entry and len(entry.pieces) == 1:
                return entry, length
        return None, 1


@cache
def lexicon(taxonomy: Taxonomy) -> Lexicon:
    """The compiled words of a taxonomy."""
    return Lexicon(taxonomy)
