"""Ages in years, in digits or words."""

import re
from dataclasses import dataclass
from typing import Final

YOUNG_UNTIL: Final = 35
MIDDLE_AGED_UNTIL: Final = 60
_OLDEST: Final = 125

_ONES: Final = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS: Final = [
    *("ten", "eleven", "twelve", "thirteen", "fourteen"),
    *("fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS: Final = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_DECADES: Final = {f"{word.removesuffix('y')}ies": 20 + 10 * i for i, word in enumerate(_TENS)} | {
    "teens": 10,
    "tens": 10,
}
_PART: Final = {"early": 2, "mid": 5, "late": 8, "": 5}

_DASH: Final = r"[-\u2010\u2011\u2013 ]?"
_WORD_NUMBER: Final = (
    rf"(?:(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_ONES)}))?|{'|'.join(_TEENS + _ONES)}|(?:a |one )?hundred)"
)
_NUMBER: Final = rf"(?P<years>\d+(?:\.\d+)?|{_WORD_NUMBER})"
_UNIT: Final = r"(?P<unit>years?|yrs?|months?|weeks?|days?|decades?)"
_DECADE: Final = rf"(?P<decade>{'|'.join(_DECADES)}|[1-9]0(?:'|’)?s)"
_EARLY: Final = rf"(?:(?P<part>early|mid|late){_DASH}(?:to{_DASH}late{_DASH})?)"

_BEFORE: Final = (
    rf"\b{_NUMBER}{_DASH}{_UNIT}{_DASH}old(?P<plural>s)?\b",
    rf"\b{_NUMBER}{_DASH}(?:yo|y/o|y\.o\.?)(?!\w)",
    r"\b(?P<around>twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|[2-9]0)-?(?:something|ish)(?P<plural>s)?\b",
)
_AFTER: Final = (
    rf"\b(?:(?:at )?(?:the )?age(?: of)?|aged?|aged about|around) {_NUMBER}(?: (?:years?|yrs?))(?: old)?\b",
    rf"\b(?:at the age of|at age|of age|aged|aged about|age of|age:?) {_NUMBER}\b(?! ?%)",
    rf"\bof (?:about |around |some )?{_NUMBER} (?:years?|yrs?)(?: of age)?\b(?! of)",
    rf"\bin (?P<whose>his|her|their|my|your|its) {_EARLY}?{_DECADE}\b",
    rf"\bin (?:the )?{_EARLY}{_DECADE}\b(?! century)",
)
_BEFORE_PATTERN: Final = [re.compile(pattern, re.IGNORECASE) for pattern in _BEFORE]
_AFTER_PATTERN: Final = [re.compile(pattern, re.IGNORECASE) for pattern in _AFTER]


_BARE_WORD: Final = rf"(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_ONES)}))?|{'|'.join(_TEENS)}"
_BARE: Final = re.compile(rf"(?<![\w.,])(?:\d{{1,3}}|{_DECADE}|{_BARE_WORD})(?![\w%]|[.,]\d)", re.IGNORECASE)


@dataclass(frozen=True)
class Age:
    """An age that the prompt gives in years."""

    start: int
    end: int
    years: float
    follows: bool
    """Stands after its noun: "aged 70"."""
    plural: bool = False
    whose: str = ""
    """The pronoun in "in her thirties"."""

    @property
    def value(self) -> str | None:
        """The taxonomy's value; None where no person is that old."""
        if self.years > _OLDEST:
            return None
        return "young" if self.years <= YOUNG_UNTIL else "middle-aged" if self.years <= MIDDLE_AGED_UNTIL else "old"


def ages(text: str) -> list[Age]:
    """Every age, in order; none overlap."""
    found = [_age(m, follows=False) for pattern in _BEFORE_PATTERN for m in pattern.finditer(text)]
    found += [_age(m, follows=True) for pattern in _AFTER_PATTERN for m in pattern.finditer(text)]
    kept: list[Age] = []
    for age in sorted(found, key=lambda a: (a.start, -a.end)):
        if not kept or age.start >= kept[-1].end:
            kept.append(age)
    return kept


def numbers(text: str) -> list[tuple[int, int]]:
    """Spans of numbers that may be someone's age, whether or not the words around them say so."""
    return [m.span() for m in _BARE.finditer(text)]


def _age(match: re.Match[str], *, follows: bool) -> Age:
    said = match.groupdict()
    if decade := said.get("decade"):
        years = float(_decade(decade)) + _PART[(said.get("part") or "").lower()]
    elif around := said.get("around"):
        years = _number(around) + 5
    else:
        years = _number(said["years"]) * _in_years((said.get("unit") or "years").lower())
    return Age(match.start(), match.end(), years, follows, bool(said.get("plural")), (said.get("whose") or "").lower())


def _in_years(unit: str) -> float:
    for name, years in (("month", 1 / 12), ("week", 1 / 52), ("day", 1 / 365), ("decade", 10.0)):
        if unit.startswith(name):
            return years
    return 1.0


def _decade(text: str) -> int:
    return _DECADES[text.lower()] if text.lower() in _DECADES else int(text[:2])


def _number(text: str) -> float:
    if text[0].isdigit():
        return float(text)
    total = 0
    for word in re.split(r"[- ]", text.lower()):
        for words, first, step in ((_ONES, 1, 1), (_TEENS, 10, 1), (_TENS, 20, 10)):
            if word in words:
                total += first + step * words.index(word)
    return 100.0 if "hundred" in text.lower() else float(total)
