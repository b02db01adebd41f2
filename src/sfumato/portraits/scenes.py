"""Backgrounds: plain walls and the four scenes."""

from numpy.random import Generator

from sfumato.portraits.brush import Brush, Shade
from sfumato.portraits.palette import WALL, Colour, darker, lighter, varied


def draw_background(brush: Brush, value: str, generator: Generator) -> None:
    """Cover the canvas with the background called `value`."""
    scenes = {"sea": _sea, "forest": _forest, "night sky": _night, "city": _city}
    if value in scenes:
        scenes[value](brush, generator)
    else:
        _wall(brush, varied(WALL[value], generator))


def _wall(brush: Brush, colour: Colour) -> None:
    brush.fill_all(
        Shade(start=(52, 44), end=(150, 120), colours=(lighter(colour, 0.16), darker(colour, 0.14)), radial=True)
    )


def _sea(brush: Brush, generator: Generator) -> None:
    brush.fill_all(Shade(start=(0, 0), end=(0, 74), colours=((122, 194, 240), (226, 242, 250))))
    side = 20.0 if generator.random() < 0.5 else 108.0
    brush.oval((side, 20), (10, 10), (255, 232, 120))
    horizon = generator.uniform(58, 64)
    brush.box(
        -64,
        horizon,
        256,
        128,
        Shade(start=(0, horizon), end=(0, 112), colours=((26, 104, 158), (50, 158, 188))),
    )
    for row in range(4):
        height = horizon + 8 + 10 * row
        for start in range(-10, 130, 24):
            left = start + 12 * (row % 2)
            brush.stroke([(left, height), (left + 6, height - 2), (left + 12, height)], (176, 224, 234), 1.6, alpha=0.8)
    brush.box(-64, 106, 256, 60, (236, 210, 150))


def _forest(brush: Brush, generator: Generator) -> None:
    brush.fill_all(Shade(start=(0, 0), end=(0, 128), colours=((170, 210, 140), (64, 116, 60))))
    for place in (8, 30, 98, 121):
        middle = place + generator.uniform(-3, 3)
        brush.polygon([(middle - 4, 20), (middle + 4, 20), (middle + 5, 128), (middle - 5, 128)], (94, 62, 40))
    for place in (-2, 18, 40, 64, 88, 110, 130):
        centre = (place + generator.uniform(-3, 3), generator.uniform(8, 20))
        brush.oval(centre, (17, 18), varied((40, 108, 48), generator, 9))
        brush.oval((centre[0] - 4, centre[1] - 5), (9, 8), (82, 152, 70), alpha=0.6)
    for place in (-2, 14, 116, 132):
        brush.oval((place, 110 + generator.uniform(-3, 3)), (15, 16), varied((48, 122, 52), generator, 9))


def _night(brush: Brush, generator: Generator) -> None:
    brush.fill_all(Shade(start=(0, 0), end=(0, 128), colours=((10, 14, 48), (44, 44, 100))))
    for _ in range(26):
        star = (generator.uniform(2, 126), generator.uniform(2, 104))
        radius = generator.uniform(0.8, 1.6)
        brush.oval(star, (radius, radius), (250, 244, 214))
    moon = 18.0 if generator.random() < 0.5 else 110.0
    brush.oval((moon, 22), (13, 13), (90, 90, 130), alpha=0.35)
    brush.oval((moon, 22), (9.5, 9.5), (250, 240, 196))
    brush.oval((moon + 3, 20), (2.4, 2.4), (226, 210, 160))


def _city(brush: Brush, generator: Generator) -> None:
    brush.fill_all(Shade(start=(0, 0), end=(0, 110), colours=((242, 150, 110), (252, 220, 176))))
    for index, left in enumerate((-6, 16, 38, 60, 82, 104)):
        top = generator.uniform(12, 34) + (18 if index in (2, 3) else 0)
        colour = varied(((88, 92, 118), (112, 104, 124))[index % 2], generator, 5)
        brush.box(left, top, 23, 128, colour)
        for row in range(9):
            for column in range(3):
                if generator.random() < 0.62:
                    brush.box(left + 3 + 6.6 * column, top + 5 + 11 * row, 3.8, 5.4, (250, 224, 130))
