"""Taxonomies from TOML: the bundled one, and the user's."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from sfumato.protocols.prompt_set.candidates.lexicon import lexicon
from sfumato.protocols.prompt_set.candidates.taxonomy import PRONOUN_FORMS, AttributeType, Kind, Row, Taxonomy

_ROWS: Final = ("adjectives", "nouns", "phrases")
_LISTS: Final = ("values", "strict", "unlisted")
_KEYS: Final = {*_ROWS, *_LISTS, "pronouns", "countable", "words"}


@cache
def default_taxonomy() -> Taxonomy:
    """Gender, age and ethnicity with the paper's values."""
    return _parse(tomllib.loads(files(__package__).joinpath("taxonomy.toml").read_text(encoding="utf-8")), None)


def load_taxonomy(path: Path) -> Taxonomy:
    """The built-in types with those of a file.

    A type of a new name is added. A built-in name with ``values`` replaces that type whole; without, its words and rows
    are added.

    Args:
        path: a TOML file of the form that docs/protocols/prompt-set.md describes.

    Raises:
        ValueError: the file is not TOML, or not of that form; the sentence says where.
        OSError: the file cannot be read.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the taxonomy {path} is not a TOML file: {error}") from None
    try:
        found = _parse(content, default_taxonomy())
        lexicon(found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return found


def _parse(content: Mapping[str, Any], base: Taxonomy | None) -> Taxonomy:
    tables = content.get("types")
    if set(content) != {"types"} or not isinstance(tables, dict) or not tables:
        raise ValueError("a taxonomy holds tables named [types.NAME] and nothing else")
    types = {t.name: t for t in base.types} if base else {}
    for name, table in tables.items():
        _check_shape(name, table)
        if "values" not in table and name not in types:
            raise ValueError(
                f"the type {name!r} of the taxonomy needs two or more different values: list them under values"
            )
        old = types.get(name)
        types[name] = _new(name, table) if old is None or "values" in table else _extended(old, table)
    return Taxonomy(tuple(types.values()))


def _check_shape(name: str, table: Any) -> None:
    where = f"the type {name!r} of the taxonomy"
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table: write [types.{name}]")
    if unknown := sorted(set(table) - _KEYS):
        raise ValueError(f"{where} has no key {unknown[0]!r}: use {', '.join(sorted(_KEYS))}")
    for key in _LISTS:
        _check_words(where, key, table.get(key, []))
    for key in _ROWS:
        rows = table.get(key, [])
        if not isinstance(rows, list):
            raise ValueError(f"{where}: {key} must be a list of rows, each a list of words")
        for row in rows:
            _check_words(where, f"a row of {key}", row)
    pronouns, words = table.get("pronouns", {}), table.get("words", {})
    if not isinstance(pronouns, dict) or set(pronouns) - set(PRONOUN_FORMS):
        raise ValueError(f"{where}: pronouns must be a table of {', '.join(PRONOUN_FORMS)}")
    for form, row in pronouns.items():
        _check_words(where, f"the pronouns {form}", row)
    if not isinstance(words, dict) or not all(isinstance(w, str) and w.strip() for w in words.values()):
        raise ValueError(f'{where}: words must be a table of lines such as elderly = "old"')
    if not isinstance(table.get("countable", False), bool):
        raise ValueError(f"{where}: countable must be true or false")


def _check_words(where: str, key: str, words: Any) -> None:
    if not isinstance(words, list) or not all(isinstance(w, str) and w.strip() for w in words):
        raise ValueError(f"{where}: {key} must be a list of words")


def _new(name: str, table: Mapping[str, Any]) -> AttributeType:
    values = tuple(table["values"])
    rows = _rows(name, table) if "adjectives" in table or "nouns" in table else ()
    if not rows:
        rows = (Row(name, Kind.ADJECTIVE, values, countable=bool(table.get("countable"))), *_rows(name, table))
    return AttributeType(
        name=name,
        values=values,
        rows=rows,
        words=dict(table.get("words", {})),
        unlisted=tuple(table.get("unlisted", ())),
        strict=frozenset(word.lower() for word in table.get("strict", ())),
    )


def _extended(old: AttributeType, table: Mapping[str, Any]) -> AttributeType:
    return replace(
        old,
        rows=(*old.rows, *_rows(old.name, table)),
        words={**old.words, **table.get("words", {})},
        unlisted=tuple(w for w in (*old.unlisted, *table.get("unlisted", ())) if w not in table.get("words", {})),
        strict=old.strict | {word.lower() for word in table.get("strict", ())},
    )


def _rows(name: str, table: Mapping[str, Any]) -> tuple[Row, ...]:
    countable = bool(table.get("countable"))
    found = [Row(name, Kind.ADJECTIVE, tuple(row), countable=countable) for row in table.get("adjectives", ())]
    if countable:
        found += [Row(name, Kind.NOUN, tuple(f"{form}s" for form in row.forms)) for row in found]
    found += [Row(name, Kind.NOUN, tuple(row)) for row in table.get("nouns", ())]
    found += [Row(name, Kind.PHRASE, tuple(row)) for row in table.get("phrases", ())]
    pronouns = table.get("pronouns", {})
    found += [Row(name, Kind.PRONOUN, tuple(pronouns[form]), form) for form in PRONOUN_FORMS if form in pronouns]
    return tuple(found)
