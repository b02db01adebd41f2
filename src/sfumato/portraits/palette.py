"""Colours of the painter: 8-bit sRGB triples, and the mixing of them."""

from typing import Final

from numpy.random import Generator

Colour = tuple[int, int, int]

WHITE: Final[Colour] = (255, 255, 255)
INK: Final[Colour] = (38, 26, 28)

SKIN: Final[dict[str, Colour]] = {
    "european": (251, 222, 210),
    "caucasian": (222, 164, 120),
    "asian": (244, 208, 174),
    "indian": (178, 116, 70),
    "african": (112, 70, 50),
}
"""One drawing convention for each value, far enough apart to be told from each other."""

HAIR: Final[dict[str, Colour]] = {
    "black": (34, 28, 34),
    "brown": (106, 64, 34),
    "blond": (238, 200, 92),
    "red": (200, 78, 28),
    "grey": (184, 186, 192),
}

CLOTH: Final[dict[str, Colour]] = {
    "red": (200, 40, 44),
    "blue": (44, 84, 190),
    "green": (44, 140, 70),
    "yellow": (238, 196, 50),
    "purple": (130, 60, 160),
    "black": (40, 40, 46),
    "white": (238, 238, 240),
}

WALL: Final[dict[str, Colour]] = {
    "red": (206, 70, 66),
    "blue": (92, 146, 222),
    "green": (112, 182, 112),
    "yellow": (246, 216, 106),
    "purple": (160, 112, 196),
    "grey": (166, 168, 172),
}

IRIS: Final[dict[str, tuple[Colour, ...]]] = {
    "european": ((70, 124, 180), (82, 130, 92)),
    "caucasian": ((106, 66, 36), (82, 112, 66)),
    "asian": ((62, 38, 26),),
    "indian": ((66, 40, 26),),
    "african": ((58, 34, 24),),
}

HAT: Final[dict[str, tuple[Colour, ...]]] = {
    "hat": ((124, 84, 50), (52, 54, 66)),
    "beanie": ((40, 116, 128), (170, 50, 60)),
}


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours; `share` in [0, 1] is the part of the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float) -> Colour:
    """Blend towards a warm near-black, which keeps shadows from turning grey."""
    return mix(colour, (40, 12, 18), share)


def lighter(colour: Colour, share: float) -> Colour:
    """Blend towards white."""
    return mix(colour, WHITE, share)


def varied(colour: Colour, generator: Generator, spread: float = 6.0) -> Colour:
    """Shift each component by a normal amount of standard deviation `spread` (of 255)."""
    red, green, blue = (int(min(255, max(0, component + generator.normal(0, spread)))) for component in colour)
    return red, green, blue
