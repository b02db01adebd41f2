"""What can be said about a painted person: the attributes, their values and how often each value occurs."""

from dataclasses import dataclass, fields
from typing import Final

from numpy.random import Generator

VALUES: Final[dict[str, tuple[str, ...]]] = {
    "gender": ("woman", "man"),
    "age": ("young", "middle-aged", "old"),
    "ethnicity": ("caucasian", "african", "asian", "indian", "european"),
    "hair_colour": ("black", "brown", "blond", "red", "grey"),
    "hair_style": ("short", "long", "curly", "bun", "bald"),
    "glasses": ("none", "glasses"),
    "hat": ("none", "hat", "beanie"),
    "beard": ("none", "beard", "moustache"),
    "expression": ("smiling", "serious", "sad", "surprised"),
    "clothing": ("red", "blue", "green", "yellow", "purple", "black", "white"),
    "background": (
        *("red", "blue", "green", "yellow", "purple", "grey"),
        *("sea", "forest", "night sky", "city"),
    ),
}
"""Every attribute with all its values; gender, age and ethnicity are ObCLIP's taxonomy (arXiv 2510.04153)."""

SCENES: Final = ("sea", "forest", "night sky", "city")

_HAIR_BY_ETHNICITY: Final[dict[str, tuple[float, ...]]] = {
    "caucasian": (0.20, 0.28, 0.18, 0.17, 0.17),
    "african": (0.40, 0.20, 0.12, 0.11, 0.17),
    "asian": (0.40, 0.20, 0.12, 0.11, 0.17),
    "indian": (0.40, 0.20, 0.12, 0.11, 0.17),
    "european": (0.15, 0.23, 0.25, 0.20, 0.17),
}
_GREY_WHEN_OLD: Final = 0.4


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """One person as the painter draws it; every field takes one of `VALUES[field]`.

    `hair_colour` is also the colour of a beard, so that a bald man may have a grey beard.
    """

    gender: str
    age: str
    ethnicity: str
    hair_colour: str
    hair_style: str
    glasses: str
    hat: str
    beard: str
    expression: str
    clothing: str
    background: str

    def __post_init__(self) -> None:
        wrong = [
            f"{field.name} must be one of {VALUES[field.name]}, got {getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) not in VALUES[field.name]
        ]
        if self.gender == "woman" and self.beard != "none":
            wrong.append("beard must be 'none' for a woman: the painter has no such picture")
        if self.hair_style == "bun" and self.hat != "none":
            wrong.append("hair_style 'bun' needs hat 'none': a hat would hide the bun")
        if wrong:
            raise ValueError("; ".join(wrong))

    def values(self) -> dict[str, str]:
        """All attributes as a mapping from name to value, in the order of `VALUES`."""
        return {name: str(getattr(self, name)) for name in VALUES}


def draw_attributes(generator: Generator) -> Attributes:
    """Draw a person; mild tendencies (grey hair with age, hair by gender), no value excluded by another's.

    Args:
        generator: numpy generator; the same state gives the same person.
    """

    def pick(name: str, weights: tuple[float, ...] | None = None) -> str:
        return str(generator.choice(VALUES[name], p=weights))

    gender, age, ethnicity = pick("gender"), pick("age"), pick("ethnicity")
    hair_colour = pick("hair_colour", _HAIR_BY_ETHNICITY[ethnicity])
    if age == "old" and generator.random() < _GREY_WHEN_OLD:
        hair_colour = "grey"
    hat = pick("hat", (0.7, 0.18, 0.12))
    is_woman = gender == "woman"
    style_weights = (0.22, 0.36, 0.20, 0.18, 0.04) if is_woman else (0.42, 0.16, 0.22, 0.06, 0.14)
    hair_style = pick("hair_style", style_weights)
    if hat != "none" and hair_style == "bun":
        hair_style = "long"
    return Attributes(
        gender=gender,
        age=age,
        ethnicity=ethnicity,
        hair_colour=hair_colour,
        hair_style=hair_style,
        glasses=pick("glasses", (0.6, 0.4)),
        hat=hat,
        beard="none" if is_woman else pick("beard", (0.5, 0.32, 0.18)),
        expression=pick("expression", (0.4, 0.26, 0.17, 0.17)),
        clothing=pick("clothing"),
        background=pick("background"),
    )
