"""A prompt with slots for its sensitive words; it is the same for every prompt of a set."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sfumato.protocols.prompt_set.candidates.lexicon import Named
from sfumato.protocols.prompt_set.candidates.matching import Match, Matches
from sfumato.protocols.prompt_set.candidates.taxonomy import Kind, Row
from sfumato.protocols.prompt_set.candidates.text import Case, article_for, case_of, in_case

_ARTICLES: Final = ("a", "an")


@dataclass(frozen=True)
class Slot:
    """One word that depends on the value of a type."""

    row: Row
    case: Case


@dataclass(frozen=True)
class Article:
    """A or an, by the sound of what follows."""

    case: Case


Part = str | Slot | Article


@dataclass(frozen=True)
class Template:
    """Text, slots and articles in order; no two texts stand side by side."""

    parts: tuple[Part, ...]

    @property
    def types(self) -> tuple[str, ...]:
        """Names of the types with slots, each once, in order of their first."""
        return tuple(dict.fromkeys(part.row.type for part in self.parts if isinstance(part, Slot)))

    def fill(self, values: Mapping[str, int]) -> str:
        """The prompt for one choice of values.

        Args:
            values: for each type, the place of its value.
        """
        text = ""
        for part in reversed(self.parts):
            match part:
                case str():
                    text = part + text
                case Slot(row=row, case=case):
                    text = in_case(row.forms[values[row.type]], case) + text
                case Article(case=case):
                    text = in_case(article_for(text), case) + text
        return text


def make_template(text: str, matches: Matches) -> Template:
    """Puts slots where the matches are, in the taxonomy's words.

    Args:
        text: tidied.
        matches: what the rules found in it, each with pieces.
    """
    said = {named.row.type for m in matches.found if not _is_compound(m) for named in m.named}
    parts, at = list[Part](), 0
    for match in matches.found:
        parts += _text_before(text, at, match, matches)
        parts += _slots(text, match, said)
        at = match.end
    parts.append(text[at:])
    return Template(tuple(_merged(_settled(_without_repeats(parts)))))


def _is_compound(match: Match) -> bool:
    """Whether one word names more than its own type, as "girl" and "child"."""
    return len(match.pieces) > 1


def _text_before(text: str, at: int, match: Match, matches: Matches) -> Iterator[Part]:
    """The text up to a match, with an article set apart."""
    before = matches.words[match.first - 1] if match.first else None
    is_article = before is not None and before.start >= at and before.text.lower() in _ARTICLES
    if before is None or not is_article or text[before.end : match.start] != " ":
        yield text[at : match.start]
        return
    yield text[at : before.start]
    yield Article("title" if before.text[0].isupper() else "lower")
    yield " "


def _slots(text: str, match: Match, said: set[str]) -> Iterator[Part]:
    case, pieces = case_of(text[match.start : match.end]), match.pieces
    if _is_compound(match):
        kept = [p for p in pieces if isinstance(p, str) or p.row.kind is not Kind.ADJECTIVE or p.row.type not in said]
        pieces = tuple(kept)
    for place, piece in enumerate(pieces):
        if place:
            yield " "
        piece_case: Case = case if case == "upper" or place == 0 else "lower"
        yield _slot(piece, piece_case) if isinstance(piece, Named) else in_case(piece, piece_case)


def _slot(named: Named, case: Case) -> Slot:
    return Slot(named.row, "lower" if case == "title" and named.row.proper else case)


def _without_repeats(parts: list[Part]) -> list[Part]:
    """ "Old elderly" is one slot."""
    kept = list[Part]()
    for part in parts:
        if isinstance(part, Slot) and len(kept) > 1 and kept[-1] == " ":
            before = kept[-2]
            if isinstance(before, Slot) and before.row == part.row and part.row.kind is Kind.ADJECTIVE:
                kept.pop()
                continue
        if part != "":
            kept.append(part)
    return kept


def _settled(parts: list[Part]) -> Iterator[Part]:
    """Articles before text that is the same for all need no slot."""
    for place, part in enumerate(parts):
        behind = parts[place + 2] if place + 2 < len(parts) else ""
        if isinstance(part, Article) and isinstance(behind, str):
            yield in_case(article_for(behind), part.case)
        elif isinstance(part, Article) and part.case == "title" and isinstance(behind, Slot) and behind.case == "upper":
            yield Article("upper")
        else:
            yield part


def _merged(parts: Iterator[Part]) -> Iterator[Part]:
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            yield text
            text = ""
        yield part
    if text:
        yield text
