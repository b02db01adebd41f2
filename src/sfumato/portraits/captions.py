"""Captions of painted people: varied wording, varied order, attributes left out at random; and their reading."""

import re
from typing import Final

from numpy.random import Generator

from sfumato.portraits.attributes import SCENES, VALUES, Attributes
from sfumato.portraits.wording import (
    ADJECTIVES,
    BALD,
    BEARDS,
    BUN,
    GARMENTS,
    GLASSES,
    HAIR_COLOURS,
    HAIR_STYLES,
    HATS,
    MEDIA,
    NO_BEARD,
    NO_GLASSES,
    NO_HAT,
    NOUNS,
    PERSON,
    SCENE_PHRASES,
    WALL_PHRASES,
    YEARS,
)

MAX_PIECES: Final = 46
"""Longest caption in pieces of `count_pieces`: the text encoder's 48 tokens less the two that frame them."""

PIECE: Final = re.compile(r"[a-zA-Z]+|[0-9]|[^\sa-zA-Z0-9]+")
"""What CLIP's tokenizers take for a word, digit or mark before they look into it."""
_ALWAYS_SAID_IF_PRESENT: Final = frozenset({"glasses", "hat", "beard"})


def caption(attributes: Attributes, generator: Generator, *, leave_out: float = 0.12) -> str:
    """Describe a person in one of very many ways.

    Args:
        attributes: what to describe.
        generator: numpy generator; the same state gives the same words.
        leave_out: probability with which each attribute is not mentioned. The absence of glasses, hat or beard
            is mentioned rarely, as people do; with 0 every attribute is named, absences too (but a woman's
            absent beard never).
    """
    while True:
        said = {name for name in VALUES if generator.random() >= leave_out}
        if leave_out > 0:
            absent = {name for name in _ALWAYS_SAID_IF_PRESENT if getattr(attributes, name) == "none"}
            said -= {name for name in sorted(absent) if generator.random() < 0.9}
        text = _Wording(attributes, generator, frozenset(said)).sentence()
        if count_pieces(text) <= MAX_PIECES:
            return text


def count_pieces(text: str) -> int:
    """Number of words, digits and marks as CLIP's tokenizers split them: the tokens of a caption."""
    return len(PIECE.findall(text))


class _Wording:
    """One caption in the making."""

    def __init__(self, attributes: Attributes, generator: Generator, said: frozenset[str]) -> None:
        self._attributes = attributes
        self._generator = generator
        self._said = said
        self._wears_glasses = self._chance(0.4)

    def _pick(self, options: tuple[str, ...]) -> str:
        return options[int(self._generator.integers(len(options)))]

    def _chance(self, probability: float) -> bool:
        return bool(self._generator.random() < probability)

    def _shuffled(self, items: list[str]) -> list[str]:
        return [items[place] for place in self._generator.permutation(len(items))]

    def sentence(self) -> str:
        background = self._background() if "background" in self._said else ""
        comma_style = self._chance(0.25)
        subject = self._subject(comma_style)
        holding, wearing = self._with(), self._wearing()
        if comma_style:
            parts = [subject, *self._shuffled(holding + wearing)]
            if background:
                parts.insert(0 if self._chance(0.1) else len(parts), background)
            return ", ".join(parts)
        clauses = []
        if holding:
            clauses.append("with " + self._joined(holding))
        if wearing:
            clauses.append(self._pick(("wearing ", "wearing ", "in ")) + self._joined(wearing))
        text = " ".join([subject, *self._shuffled(clauses)])
        if not background:
            return text
        if self._chance(0.1):
            return f"{background}, {text}"
        return text + (", " if background.endswith("background") or self._chance(0.4) else " ") + background

    def _joined(self, items: list[str]) -> str:
        items = self._shuffled(items)
        if len(items) < 2:
            return items[0]
        return ", ".join(items[:-1]) + " and " + items[-1]

    def _subject(self, comma_style: bool) -> str:
        words, values = [], self._attributes.values()
        for name in ("expression", "age", "ethnicity"):
            if name in self._said:
                words.append(self._pick(ADJECTIVES[name][values[name]]))
        if "age" in self._said and self._chance(0.12):
            first, last = YEARS[values["age"]]
            years = int(self._generator.integers(first, last + 1))
            words[1 if "expression" in self._said else 0] = f"{years}-year-old"
        if len(words) > 1 and self._chance(0.15):
            words = self._shuffled(words)
        noun = self._pick(NOUNS[values["gender"]]) if "gender" in self._said else PERSON
        phrase = " ".join([*words, noun])
        medium = self._pick(MEDIA)
        if medium or not (comma_style or self._chance(0.25)):
            phrase = _article(phrase) + " " + phrase
        return f"{medium} {phrase}".strip()

    def _with(self) -> list[str]:
        items = self._hair()
        values = self._attributes.values()
        if "beard" in self._said and values["gender"] == "man":
            items += [self._beard(values["beard"])]
        if "glasses" in self._said and values["glasses"] == "none":
            items.append(self._pick(NO_GLASSES))
        elif "glasses" in self._said and not self._wears_glasses:
            items.append(self._pick(GLASSES))
        if "hat" in self._said and values["hat"] == "none":
            items.append(self._pick(NO_HAT))
        return items

    def _hair(self) -> list[str]:
        values = self._attributes.values()
        style = values["hair_style"] if "hair_style" in self._said else ""
        colour = self._hair_colour() if "hair_colour" in self._said else ""
        if values["hair_style"] == "bald":
            return [self._pick(BALD)] if style else []
        if style == "bun":
            return [f"{colour} {self._pick(BUN)}".strip()]
        words = self._shuffled([word for word in (HAIR_STYLES.get(style, ""), colour) if word])
        return [" ".join([*words, "hair"])] if words else []

    def _hair_colour(self) -> str:
        return self._pick(HAIR_COLOURS[self._attributes.hair_colour])

    def _beard(self, value: str) -> str:
        if value == "none":
            return self._pick(NO_BEARD)
        noun = self._pick(BEARDS[value])
        if "hair_colour" in self._said and (self._attributes.hair_style == "bald" or self._chance(0.25)):
            noun = f"{self._hair_colour()} {noun}"
        return f"a {noun}"

    def _wearing(self) -> list[str]:
        values, items = self._attributes.values(), []
        if "clothing" in self._said:
            garment = self._pick(GARMENTS)
            items.append(f"{'' if garment == 'clothes' else 'a '}{values['clothing']} {garment}")
        if "glasses" in self._said and values["glasses"] != "none" and self._wears_glasses:
            items.append(self._pick(GLASSES))
        if "hat" in self._said and values["hat"] != "none":
            items.append(self._pick(HATS[values["hat"]]))
        return items

    def _background(self) -> str:
        value = self._attributes.background
        if value in SCENES:
            return self._pick(SCENE_PHRASES[value])
        return self._pick(WALL_PHRASES).format(value)


def _article(phrase: str) -> str:
    starts_with_vowel_sound = phrase[0].lower() in "aeiou" or phrase.startswith(("8", "18-"))
    return "an" if starts_with_vowel_sound and not phrase.startswith("European") else "a"


def mentioned(text: str) -> dict[str, str]:
    """Read a caption of the grammar: the attributes it names and their values.

    Words outside the grammar are passed over, so this also reads much of what people write.
    """
    text, found = text.lower(), {}
    for name, reader in _READERS.items():
        for value, pattern in reader:
            if re.search(pattern, text):
                found[name] = value
                break
    if match := re.search(r"(\d+)-year-old", text):
        years = int(match[1])
        found["age"] = "young" if years < 36 else "middle-aged" if years < 61 else "old"
    return found


def _words(options: tuple[str, ...]) -> str:
    return r"\b(?:" + "|".join(sorted({re.escape(word.lower()) for word in options}, key=len, reverse=True)) + r")\b"


def _readers() -> dict[str, list[tuple[str, str]]]:
    adjectives = {
        name: [(value, _words(options)) for value, options in values.items()] for name, values in ADJECTIVES.items()
    }
    adjectives["age"] = [
        ("middle-aged", r"\bmiddle[- ]aged\b"),
        ("young", r"\byoung\b|\byouthful\b"),
        ("old", r"(?<!year-)\bold\b|\belderly\b|\baged\b"),
    ]
    adjectives["expression"].sort(key=lambda reader: reader[0] != "sad")
    style = r"(?:short |long |curly )?"
    walls = [value for value in VALUES["background"] if value not in SCENES]
    return {
        **adjectives,
        "gender": [(value, _words(options)) for value, options in NOUNS.items()],
        "hair_colour": [
            (value, _words(options) + rf" (?:{style}hair\b|(?:full )?beard\b|(?:moustache|mustache)\b)")
            for value, options in HAIR_COLOURS.items()
        ],
        "hair_style": [
            ("bald", _words(BALD)),
            ("bun", r"\bbun\b"),
            *((word, rf"\b{word}\b(?: \w+)? hair\b") for word in HAIR_STYLES),
        ],
        "glasses": [("none", _words(NO_GLASSES)), ("glasses", _words(GLASSES))],
        "hat": [("none", _words(NO_HAT))] + [(value, _words(options)) for value, options in HATS.items()],
        "beard": [("none", _words(NO_BEARD))] + [(value, _words(options)) for value, options in BEARDS.items()],
        "clothing": [(value, rf"\b{value} {_words(GARMENTS)}") for value in VALUES["clothing"]],
        "background": [(value, _words(options)) for value, options in SCENE_PHRASES.items()]
        + [(value, rf"\b{value} (?:background|wall)\b") for value in walls],
    }


_READERS: Final = _readers()
