"""Words of a prompt, with what stands between them."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

Case = Literal["lower", "title", "upper"]

_WORD: Final = re.compile(r"[^\W_]+(?:[-\u2010\u2011\u2013][^\W_]+)*")
_DASHES: Final = re.compile(r"[-\u2010\u2011\u2013\s]+")
_SPACES: Final = re.compile(r"\s+")


@dataclass(frozen=True)
class Word:
    """One word and its place; hyphenated words are one."""

    text: str
    start: int
    end: int
    key: str
    """What it is looked up by."""


def tidy(prompt: str) -> str:
    """The prompt in composed Unicode, without invisible characters, with single spaces."""
    text = unicodedata.normalize("NFC", prompt)
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return _SPACES.sub(" ", text).strip()


def key_of(text: str) -> str:
    """Lower case, with spaces for hyphens: "Middle-Aged" and "middle aged" are one."""
    return _DASHES.sub(" ", text.lower()).strip()


def words_of(text: str) -> list[Word]:
    """All words, in order."""
    return [Word(m.group(), m.start(), m.end(), key_of(m.group())) for m in _WORD.finditer(text)]


def case_of(text: str) -> Case:
    """How a word is capitalised."""
    letters = [c for c in text if c.isalpha()]
    if len(letters) > 1 and all(c.isupper() for c in letters):
        return "upper"
    return "title" if text[:1].isupper() else "lower"


def in_case(text: str, case: Case) -> str:
    """A word as it is spelled within a sentence, capitalised."""
    if case == "upper":
        return text.upper()
    return text[:1].upper() + text[1:] if case == "title" else text


def article_for(text: str) -> str:
    """A or an, by the sound of the text's first word."""
    word = next((w.text.lower() for w in words_of(text)), "")
    if re.match(r"eu|uni(?!n|m)|use|one\b|ones\b|u\b|ut[ei]", word):
        return "a"
    if re.match(r"heir|hour|honest|honou?r", word) or re.match(r"(8|11|18)(?!\d)|8\d", word):
        return "an"
    return "an" if word[:1] in tuple("aeiou") else "a"
