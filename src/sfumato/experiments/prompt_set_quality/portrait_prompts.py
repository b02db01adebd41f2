"""Portrait prompts with slots for sensitive attributes, every value asked for equally often.

Source: ObCLIP (NeurIPS 2025, arXiv 2510.04153) fills ten portrait templates with slots for age, ethnicity and gender;
these templates are ours, in words that the bundled painter knows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.random import Generator

from sfumato.portraits.attributes import VALUES, Attributes
from sfumato.portraits.captions import mentioned
from sfumato.portraits.wording import ADJECTIVES, GARMENTS, HATS, SCENE_PHRASES
from sfumato.protocols.prompt_set.candidates.text import article_for

SLOTS: Final[dict[int, tuple[str, ...]]] = {
    2: ("gender",),
    6: ("age", "gender"),
    30: ("age", "ethnicity", "gender"),
}
"""What a prompt names, by the size of the candidate set that this makes; in the order of the words."""

TEMPLATES: Final = (
    "a portrait of {person} with {hair}, {background}",
    "a portrait of {person} with {hair} wearing {clothes}, {background}",
    "a painting of {person} with {hair} and glasses, {background}",
    "a photo of {person} wearing {clothes} and {hat}, {background}",
    "an illustration of {person} with {hair} and glasses, wearing {clothes}",
    "a drawing of {person} with glasses wearing {hat}, {background}",
    "a picture of {moody person} wearing {clothes}, {background}",
    "a portrait of {moody person} with {hair}, {background}",
    "a photo of {moody person} with glasses wearing {clothes} and {hat}",
    "a painting of {moody person} with {hair} wearing {clothes}, {background}",
)

_SHARED: Final = {
    "hair_colour": ("black", "brown", "blond", "red"),
    "hair_style": ("short", "long", "curly"),
    "hat": ("hat", "beanie"),
}
"""Of shared words, those that go with every gender and age; grey hair, baldness and a bun do not."""
_BEARDS: Final = (0.5, 0.32, 0.18)
"""How often the painter draws none, a beard and a moustache on a man."""


@dataclass(frozen=True, kw_only=True)
class PortraitPrompt:
    """One prompt, with the seed of its pictures and a person as it may show one."""

    num_candidates: int
    """Size of the set that hides it."""
    index: int
    """Its place among the prompts of that size."""
    text: str
    seed: int
    person: Attributes
    """What the prompt names, and for what it does not name a choice as the painter makes it."""

    @property
    def requested(self) -> dict[str, str]:
        """Value of each sensitive attribute that it names."""
        values = self.person.values()
        return {name: values[name] for name in SLOTS[self.num_candidates]}


def portrait_prompts(num_candidates: int, number: int) -> tuple[PortraitPrompt, ...]:
    """The first prompts of an endless list.

    Args:
        num_candidates: one of ``SLOTS``.
        number: how many; a multiple of ``num_candidates`` asks for every combination of values equally often.
    """
    generator = np.random.default_rng([2510, 4153, num_candidates])
    drawn = _combinations(num_candidates, generator)
    return tuple(_prompt(num_candidates, index, next(drawn), generator) for index in range(number))


def another_person(prompt: PortraitPrompt, generator: Generator) -> Attributes:
    """Someone else whom the prompt describes as well: what it does not name is drawn anew."""
    kept = prompt.person.values()
    named = {*mentioned(prompt.text), "glasses", "hat"}
    drawn = _drawn(kept["gender"], generator)
    return Attributes(**{name: kept[name] if name in named else drawn[name] for name in VALUES})


def _combinations(num_candidates: int, generator: Generator) -> Iterator[dict[str, str]]:
    """All combinations of requested values in a new order, again and again."""
    names = SLOTS[num_candidates]
    combinations = list(product(*(VALUES[name] for name in names)))
    while True:
        for place in generator.permutation(len(combinations)):
            yield dict(zip(names, combinations[place], strict=True))


def _prompt(num_candidates: int, index: int, requested: dict[str, str], generator: Generator) -> PortraitPrompt:
    template = TEMPLATES[int(generator.integers(len(TEMPLATES)))]
    person = _person(requested, template, generator)
    return PortraitPrompt(
        num_candidates=num_candidates,
        index=index,
        text=_text(template, person, SLOTS[num_candidates], generator),
        seed=1000 * num_candidates + index,
        person=person,
    )


def _person(requested: dict[str, str], template: str, generator: Generator) -> Attributes:
    """Someone with the requested values; the rest is drawn without regard to them, so that it tells nothing of them."""
    drawn = _drawn(requested["gender"], generator)
    worn = {
        # What people do not mention of these is mostly not there.
        "glasses": "glasses" if "glasses" in template else "none",
        "hat": drawn["hat"] if "{hat}" in template else "none",
    }
    return Attributes(**{**drawn, **worn, **requested})


def _drawn(gender: str, generator: Generator) -> dict[str, str]:
    """A value of each attribute; only the beard depends on anything, the gender."""
    drawn = {name: _pick(_SHARED.get(name, values), generator) for name, values in VALUES.items()}
    beard = str(generator.choice(VALUES["beard"], p=_BEARDS))
    return {**drawn, "beard": beard if gender == "man" else "none"}


def _text(template: str, person: Attributes, slots: tuple[str, ...], generator: Generator) -> str:
    values = person.values()
    words = " ".join(ADJECTIVES[slot][values[slot]][0] if slot in ADJECTIVES else values[slot] for slot in slots)
    moody = f"{values['expression']} {words}"
    phrases = {
        "person": f"{article_for(words)} {words}",
        "moody person": f"{article_for(moody)} {moody}",
        "hair": f"{values['hair_style']} {values['hair_colour']} hair",
        "clothes": f"a {values['clothing']} {_pick(GARMENTS[:-1], generator)}",
        "hat": HATS.get(values["hat"], ("",))[0],
        "background": _background(values["background"]),
    }
    return template.format_map(phrases)


def _background(value: str) -> str:
    return SCENE_PHRASES[value][0] if value in SCENE_PHRASES else f"{value} background"


def _pick(options: tuple[str, ...], generator: Generator) -> str:
    return options[int(generator.integers(len(options)))]
