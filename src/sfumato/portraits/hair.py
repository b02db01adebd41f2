"""Hair behind and in front of the head, and beards."""

import math
from dataclasses import dataclass

from sfumato.portraits.brush import Brush, Point, Shade, mirrored
from sfumato.portraits.palette import Colour, darker, lighter

AXIS = 64.0


@dataclass(frozen=True, kw_only=True)
class Hair:
    """Style and colour of the hair; `under_hat` flattens what a hat would press down."""

    style: str
    colour: Colour
    is_man: bool
    under_hat: bool
    parting: float


def draw_back_hair(brush: Brush, hair: Hair) -> None:
    """What hangs or stands out behind the head."""
    paint = Shade(start=(64, 10), end=(64, 122), colours=(hair.colour, darker(hair.colour, 0.42)))
    if hair.style == "long":
        brush.blob(
            mirrored(
                [(0, 12), (22, 16), (36, 32), (40, 58), (43, 86), (45, 110), (36, 122), (18, 118), (0, 112)],
                AXIS,
            ),
            paint,
        )
    elif hair.style == "curly":
        for centre, radius in _curls(hair):
            brush.oval(centre, (radius, radius), paint)
    elif hair.style == "bun":
        brush.oval((AXIS, 10), (13, 10.5), paint)
        brush.stroke([(55, 8), (62, 4), (71, 7)], lighter(hair.colour, 0.3), 1.8, alpha=0.8)
        brush.stroke([(56, 13), (64, 11), (73, 13)], darker(hair.colour, 0.4), 1.6)
    elif hair.style == "short" and not hair.is_man:
        brush.blob(
            mirrored([(0, 12), (22, 16), (36, 32), (40, 56), (41, 78), (34, 90), (22, 84), (0, 84)], AXIS), paint
        )


def _curls(hair: Hair) -> list[tuple[Point, float]]:
    reach = 78 if not hair.is_man else 62
    curls = []
    for step in range(17):
        angle = math.pi * (-0.22 + 1.44 * step / 16)
        x, y = AXIS + 35 * math.cos(angle), 50 - 34 * math.sin(angle)
        curls.append(((x, y), 9.0))
    if reach > 70:
        curls += [((AXIS + side * 37.0, y), 9.0) for side in (-1, 1) for y in (70.0, 82.0)]
    if hair.under_hat:
        curls = [curl for curl in curls if curl[0][1] > 34]
    return curls


def draw_front_hair(brush: Brush, hair: Hair) -> None:
    """What lies on the forehead and the temples, with a few lighter strands."""
    if hair.style == "bald":
        if not hair.under_hat:
            brush.oval((56, 30), (8, 4), (255, 255, 255), alpha=0.3)
        return
    paint = Shade(start=(50, 14), end=(100, 60), colours=(lighter(hair.colour, 0.14), darker(hair.colour, 0.3)))
    if hair.style == "curly":
        _draw_curly_front(brush, hair, paint)
        return
    down = {"short": 54 if hair.is_man else 66, "long": 76, "bun": 50}[hair.style]
    part = AXIS + hair.parting
    crown: list[Point] = [(29.5, down), (30.5, 44), (35, 30), (48, 17.5), (64, 14), (80, 17.5), (93, 30)]
    crown += [(97.5, 44), (98.5, down), (95.5, down - 4), (93, 50)]
    if hair.style == "bun":
        fringe: list[Point] = [(86, 38), (74, 33), (64, 32), (54, 33), (42, 38)]
    elif hair.is_man and hair.style == "short":
        fringe = [(89, 40), (78, 37), (part, 35), (50, 37), (39, 41)]
    else:
        fringe = [(87, 46), (78, 39), (part, 30), (50, 39), (41, 46)]
    brush.blob([*crown, *fringe, (35, 50), (32.5, down - 4)], paint)
    shine, shadow = lighter(hair.colour, 0.32), darker(hair.colour, 0.35)
    for side in (-1, 1):
        brush.stroke([(part + 4 * side, 18), (AXIS + 21 * side, 25), (AXIS + 29 * side, 40)], shine, 1.8, alpha=0.7)
        brush.stroke([(part + 2 * side, 26), (AXIS + 18 * side, 32)], shadow, 1.5, alpha=0.7)


def _draw_curly_front(brush: Brush, hair: Hair, paint: Shade) -> None:
    for step in range(8):
        angle = math.pi * (0.06 + 0.88 * step / 7)
        centre = (AXIS + 28 * math.cos(angle), 50 - 24 * math.sin(angle))
        brush.oval(centre, (8.4, 8.4), paint)
    shine, shadow = lighter(hair.colour, 0.3), darker(hair.colour, 0.4)
    for step in range(9):
        angle = math.pi * (0.03 + 0.94 * step / 8)
        x, y = AXIS + 32 * math.cos(angle), 50 - 30 * math.sin(angle)
        line = shine if step % 2 else shadow
        brush.stroke([(x - 3.5, y + 1), (x, y - 3), (x + 3.5, y + 1)], line, 1.7, alpha=0.85)


def draw_temples(brush: Brush, colour: Colour) -> None:
    """Greyed hair above the ears, for those no longer young."""
    for side in (-1, 1):
        brush.stroke([(AXIS + 31 * side, 38), (AXIS + 32.5 * side, 50)], colour, 3.6, alpha=0.9)


def draw_beard(brush: Brush, kind: str, colour: Colour, turn: float) -> None:
    """A full beard or a moustache, around a mouth that is drawn later."""
    shadow = darker(colour, 0.3)
    if kind == "beard":
        edge: list[Point] = [(32.5, 66), (31.5, 84), (23, 101), (10, 109), (0, 110)]
        inside: list[Point] = [(0, 82.5), (10, 82.5), (18, 82), (25, 77)]
        outline = [(AXIS + x, y) for x, y in edge] + [(AXIS - x, y) for x, y in reversed(edge[:-1])]
        outline += [(AXIS + turn * 0.6 - x, y) for x, y in reversed(inside)]
        outline += [(AXIS + turn * 0.6 + x, y) for x, y in inside[1:]]
        brush.blob(outline, Shade(start=(64, 76), end=(64, 110), colours=(colour, shadow)))
        for strand in (-20, -12, -4, 4, 12, 20):
            bottom = 106 - 0.02 * strand * strand
            brush.stroke(
                [(AXIS + strand, bottom - 7), (AXIS + 0.9 * strand, bottom - 1)], lighter(colour, 0.2), 1.4, alpha=0.7
            )
    x = AXIS + 1.1 * turn
    brush.blob(
        mirrored([(0, 82), (8, 82.5), (15, 88), (13, 90), (6, 87), (0, 86.4)], x),
        shadow if kind == "beard" else colour,
    )
