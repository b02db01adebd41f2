"""The face: head shape, eyes, brows, nose, mouth, and the marks of age."""

from dataclasses import dataclass

from sfumato.portraits.brush import Brush, Point, Shade, mirrored
from sfumato.portraits.palette import HAIR, INK, WHITE, Colour, darker, lighter, mix

AXIS = 64.0
EYE_HEIGHT = 62.0
EYE_OFFSET = 14.5


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the face's parts need to know.

    `turn` is how far the features are moved sideways on the head, in units: the head's turn.
    """

    is_man: bool
    age: str
    ethnicity: str
    expression: str
    skin: Colour
    hair: Colour
    iris: Colour
    turn: float


def draw_head(brush: Brush, look: Look) -> None:
    """Ears and the shaded head without features."""
    skin = look.skin
    for side in (-1, 1):
        ear = (AXIS + 31.5 * side, 66.0)
        size = (5.5, 9.5) if look.age == "old" else (4.6, 7.8)
        brush.oval(ear, size, darker(skin, 0.12))
        brush.oval((ear[0] + 0.6 * side, 66.0), (size[0] * 0.5, size[1] * 0.55), darker(skin, 0.3))
    light = (AXIS - 9 + look.turn, 54.0)
    paint = Shade(
        start=light,
        end=(light[0] + 44, light[1] + 34),
        colours=(lighter(skin, 0.2), skin, darker(skin, 0.3)),
        radial=True,
    )
    brush.blob(head_outline(look), paint)
    if look.age != "old":
        blush = mix(skin, (226, 70, 70), 0.5 if look.age == "young" else 0.22)
        for side in (-1, 1):
            brush.oval((AXIS + look.turn + 19 * side, 77), (6.5, 4.6), blush, alpha=0.55)


def head_outline(look: Look) -> list[Point]:
    """Narrow chin for women, square jaw for men, heavier cheeks with age."""
    sag = {"young": -1.0, "middle-aged": 0.5, "old": 2.5}[look.age]
    if look.is_man:
        jaw = [(31.5, 70), (29.5 + sag, 84), (20 + sag, 97), (9, 103.5), (0, 104.5)]
    else:
        jaw = [(30.5, 70), (26 + sag, 84), (15.5 + sag, 96), (6, 101.5), (0, 102.5)]
    return mirrored([(0, 20), (18, 23.5), (29, 38), (32, 56), *jaw], AXIS)


def draw_features(brush: Brush, look: Look) -> None:
    """Everything on the face except beard and glasses."""
    _draw_age(brush, look)
    _draw_nose(brush, look)
    for side in (-1, 1):
        _draw_eye(brush, look, side)
        _draw_brow(brush, look, side)


def _draw_eye(brush: Brush, look: Look, side: int) -> None:
    x, y = AXIS + look.turn + EYE_OFFSET * side, EYE_HEIGHT
    wide = 9.0 if look.age == "young" else 8.4
    tall = {"young": 6.2, "middle-aged": 5.2, "old": 4.5}[look.age]
    tall = tall * 1.3 if look.expression == "surprised" else tall
    tilt = 0.0
    if look.ethnicity == "asian":
        tall, tilt = tall * 0.84, 1.4
    inner, outer = x - wide * side, x + wide * side
    upper = [(inner, y + 1), (x - 3 * side, y - tall), (x + 4 * side, y - tall * 0.95), (outer, y - tilt)]
    lower = [(x + 3 * side, y + tall * 0.8), (x - 4 * side, y + tall * 0.72)]
    brush.blob([*upper, *lower], WHITE)
    gaze = x + 0.5 * look.turn
    radius = min(4.6, tall * 0.92)
    brush.oval((gaze, y - 0.3), (radius, radius), look.iris)
    brush.oval((gaze, y - 0.3), (radius * 0.56, radius * 0.56), (12, 10, 14))
    brush.oval((gaze - 1.5, y - 2.0), (1.3, 1.3), WHITE)
    brush.stroke(upper, INK, 2.0 if look.is_man else 2.9)
    brush.stroke([upper[-1], *lower, upper[0]], darker(look.skin, 0.5), 1.0)
    if not look.is_man:
        brush.stroke([(outer - 1.5 * side, y - 2), (outer + 3.2 * side, y - 4.4 - tilt)], INK, 2.2)


def _draw_brow(brush: Brush, look: Look, side: int) -> None:
    x = AXIS + look.turn + EYE_OFFSET * side
    lift = {"surprised": -5.0, "serious": 1.2}.get(look.expression, 0.0)
    inner = {"sad": -3.4, "serious": 1.2}.get(look.expression, 0.0)
    y = EYE_HEIGHT - 11.5 + lift
    colour = darker(look.hair, 0.3)
    if look.age == "old":
        colour = mix(HAIR["grey"], WHITE, 0.35) if look.ethnicity in ("african", "indian") else (150, 148, 150)
    points = [
        (x - 9 * side, y + 1 + inner),
        (x - 1 * side, y - 2.2 + 0.4 * inner),
        (x + 6 * side, y - 1.8 - 0.2 * inner),
        (x + 10 * side, y + 1.2 - 0.5 * inner),
    ]
    brush.stroke(points, colour, 4.2 if look.is_man else 2.5)


def _draw_nose(brush: Brush, look: Look) -> None:
    x = AXIS + 1.4 * look.turn
    shade = darker(look.skin, 0.46)
    wing = 6.6 if look.is_man else 5.4
    brush.oval((x, 76), (wing, 4.0), lighter(look.skin, 0.12), alpha=0.7)
    brush.stroke([(x + 2.6, 60), (x + 3.6, 68), (x + wing - 0.6, 75)], darker(look.skin, 0.26), 1.6, alpha=0.8)
    brush.stroke(
        [(x - wing, 76), (x - wing * 0.7, 79.6), (x, 80.6), (x + wing * 0.7, 79.6), (x + wing, 76)], shade, 2.3
    )
    for side in (-1, 1):
        brush.oval((x + 2.9 * side, 79.3), (1.5, 1.1), darker(look.skin, 0.7))


def _draw_age(brush: Brush, look: Look) -> None:
    if look.age == "young":
        return
    x, old = AXIS + look.turn, look.age == "old"
    line = darker(look.skin, 0.5 if old else 0.34)
    width = 1.9 if old else 1.5
    for row in range(3 if old else 1):
        y = 43.5 - 4.6 * row
        brush.stroke([(x - 14, y + 0.8), (x, y - 0.8), (x + 14, y + 0.8)], line, width * 0.85)
    for side in (-1, 1):
        fold = [(x + 8.5 * side, 77), (x + 14 * side, 84), (x + (15.5 if old else 14.5) * side, 90)]
        brush.stroke(fold, line, width)
        bag = [(x + 8 * side, 70), (x + 14 * side, 72.3), (x + 21 * side, 69.5)]
        brush.stroke(bag, line, width * 0.85)
        if old:
            brush.stroke([(x + 24.5 * side, 62), (x + 29 * side, 59.5)], line, 1.4)
            brush.stroke([(x + 24.5 * side, 65), (x + 29 * side, 66)], line, 1.4)
            brush.stroke([(x + 21 * side, 82), (x + 22.5 * side, 90), (x + 19 * side, 97)], line, 1.5)


def draw_mouth(brush: Brush, look: Look) -> None:
    """The mouth in one of four expressions; drawn after a beard, which it must show through."""
    x, y = AXIS + 1.1 * look.turn, 90.0
    lip = mix(look.skin, (176, 70, 70), 0.62) if look.is_man else mix(look.skin, (206, 34, 62), 0.78)
    edge = darker(lip, 0.62)
    if look.expression == "smiling":
        outline = [(x - 13, y - 3.5), (x - 6, y - 1.6), (x, y - 1.2), (x + 6, y - 1.6), (x + 13, y - 3.5)]
        jaw = [(x + 8, y + 5), (x, y + 7.2), (x - 8, y + 5)]
        brush.blob([*outline, *jaw], lip)
        inner = [(px, py + 0.9) for px, py in outline[1:4]]
        brush.blob([(x - 10, y - 1.6), *inner, (x + 10, y - 1.6), (x + 5, y + 3.6), (x - 5, y + 3.6)], WHITE)
        brush.stroke(outline, edge, 1.8)
    elif look.expression == "surprised":
        brush.oval((x, y + 1), (6.4, 7.2), lip)
        brush.oval((x, y + 1), (4.2, 5.0), (74, 20, 28))
    else:
        bend = 3.4 if look.expression == "sad" else 0.0
        middle = [(x - 11.5, y + bend), (x - 5, y - 0.3 * bend), (x, y - 0.5 * bend), (x + 5, y - 0.3 * bend)]
        middle.append((x + 11.5, y + bend))
        brush.blob([*middle, (x + 6, y + 4.6), (x, y + 5.4), (x - 6, y + 4.6)], lip)
        brush.blob([middle[0], (x - 4, y - 3.6), (x, y - 2.6), (x + 4, y - 3.6), middle[-1], middle[2]], lip)
        brush.stroke(middle, edge, 2.0)
