"""Glasses and headgear."""

from sfumato.portraits.brush import Brush, Shade, mirrored
from sfumato.portraits.face import AXIS, EYE_HEIGHT, EYE_OFFSET
from sfumato.portraits.palette import Colour, darker, lighter

FRAME: Colour = (26, 24, 30)


def draw_glasses(brush: Brush, turn: float) -> None:
    """Thick dark frames around both eyes, with bridge, temples and a glint."""
    x, y = AXIS + turn, EYE_HEIGHT + 1
    for side in (-1, 1):
        centre = (x + (EYE_OFFSET + 0.2) * side, y)
        brush.oval(centre, (11.5, 9.5), (226, 240, 250), alpha=0.14)
        brush.ring(centre, (12.0, 10.2), 8.0, FRAME, 3.3)
        brush.stroke([(centre[0] + 12 * side, y - 3), (AXIS + 32 * side, y - 5)], FRAME, 3.0)
    brush.stroke([(x - 3, y - 2.4), (x, y - 3.6), (x + 3, y - 2.4)], FRAME, 3.2)


def draw_hat(brush: Brush, kind: str, colour: Colour) -> None:
    """A brimmed hat with a band, or a knitted beanie with a folded edge."""
    paint = Shade(start=(44, 4), end=(96, 40), colours=(lighter(colour, 0.16), darker(colour, 0.28)))
    if kind == "hat":
        crown = mirrored([(0, 5), (16, 2), (26, 8), (30, 24), (31, 36), (0, 40)], AXIS)
        brush.blob(crown, paint)
        brush.polygon([(33, 26), (95, 26), (96, 35), (32, 35)], darker(colour, 0.6))
        brush.oval((AXIS, 40.5), (48, 6.2), (20, 10, 14), alpha=0.25)
        brush.oval((AXIS, 38), (50, 6.4), paint)
        brush.stroke([(18, 37), (64, 34.4), (110, 37)], lighter(colour, 0.28), 1.4, alpha=0.8)
        return
    brush.blob(mirrored([(0, 4), (18, 7), (31, 20), (34, 38), (0, 40)], AXIS), paint)
    brush.oval((AXIS, 4), (6.5, 6), lighter(colour, 0.45))
    brush.blob(mirrored([(0, 28), (20, 29), (35, 33), (36.5, 42), (22, 40.5), (0, 39.5)], AXIS), lighter(colour, 0.22))
    for place in range(-30, 31, 10):
        brush.stroke([(AXIS + place, 32.5), (AXIS + 1.02 * place, 38.5)], darker(colour, 0.25), 1.6)
