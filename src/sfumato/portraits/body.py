"""Everything below the chin: neck, shoulders and clothes."""

from numpy.random import Generator

from sfumato.portraits.brush import Brush, Shade, mirrored
from sfumato.portraits.palette import CLOTH, Colour, darker, lighter, varied


def draw_neck(brush: Brush, skin: Colour, *, is_man: bool) -> None:
    """The neck with the chin's shadow on it."""
    width = 16.5 if is_man else 12.5
    outline = mirrored([(width, 78), (width, 96), (width + 3, 108), (width + 10, 116), (0, 122)], 64)
    brush.blob(outline, Shade(start=(0, 92), end=(0, 116), colours=(darker(skin, 0.42), darker(skin, 0.08))))


def draw_clothes(brush: Brush, colour_name: str, generator: Generator, *, is_man: bool) -> None:
    """Shoulders in a pullover, with either a round collar or the two flaps of a shirt."""
    colour = varied(CLOTH[colour_name], generator, 5)
    reach = 60 if is_man else 52
    slope = mirrored([(13, 108), (24, 110), (reach - 16, 114), (reach - 3, 122), (reach + 2, 134), (0, 150)], 64)
    brush.blob(
        [*slope, (51, 108), (56, 114), (64, 117), (72, 114)],
        Shade(start=(40, 104), end=(100, 134), colours=(lighter(colour, 0.14), darker(colour, 0.22))),
    )
    edge = darker(colour, 0.38)
    if generator.random() < 0.5:
        brush.stroke([(50, 108), (55, 115), (64, 118), (73, 115), (78, 108)], edge, 2.6)
    else:
        for side in (-1, 1):
            flap = [(64 + 13 * side, 105), (64, 119), (64 + 9 * side, 125), (64 + 20 * side, 111)]
            brush.polygon(flap, lighter(colour, 0.2))
            brush.stroke(flap[1:], edge, 1.2)
