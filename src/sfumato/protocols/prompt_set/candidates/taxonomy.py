"""Sensitive attributes as data: their values, and the words that name them.

Source: the built-in types and values are those of ObCLIP (NeurIPS 2025, arXiv 2510.04153); the words are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

PRONOUN_FORMS: Final = ("subject", "object", "possessive", "independent", "reflexive")


class Kind(Enum):
    """How a word is used."""

    ADJECTIVE = "adjective"
    NOUN = "noun"
    PHRASE = "phrase"
    PRONOUN = "pronoun"


@dataclass(frozen=True)
class Row:
    """Words that stand in each other's place: one for each value of a type."""

    type: str
    kind: Kind
    forms: tuple[str, ...]
    """In the order of the type's values, each spelled as within a sentence."""
    pronoun: str = ""
    """Its grammatical form, for pronouns."""
    countable: bool = False
    """An adjective that may stand for a person."""

    @property
    def proper(self) -> bool:
        """Whether every form is written with a capital."""
        return all(form[:1].isupper() for form in self.forms)


@dataclass(frozen=True, kw_only=True)
class AttributeType:
    """One sensitive attribute.

    Raises:
        ValueError: rows, values and words do not fit together.
    """

    name: str
    values: tuple[str, ...]
    rows: tuple[Row, ...]
    words: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Other wording, and the words of rows that it is taken for."""
    unlisted: tuple[str, ...] = ()
    """Words of this type that belong to no value."""
    strict: frozenset[str] = frozenset()
    """Words that count right before a person only."""

    def __post_init__(self) -> None:
        values, where = self.values, f"the type {self.name!r} of the taxonomy"
        if len(values) < 2 or len(set(values)) < len(values):
            raise ValueError(f"{where} needs two or more different values: list them under values")
        for row in self.rows:
            if len(row.forms) != len(values):
                raise ValueError(
                    f"{where} has the row {list(row.forms)}, but {len(values)} values: give one word for each value"
                )
            if len({form.lower() for form in row.forms}) < len(row.forms):
                raise ValueError(f"{where} has the row {list(row.forms)}: a word in it must name one value only")


@dataclass(frozen=True)
class Taxonomy:
    """All attribute types that a set covers."""

    types: tuple[AttributeType, ...]

    def type(self, name: str) -> AttributeType:
        """The type of that name."""
        return next(t for t in self.types if t.name == name)
