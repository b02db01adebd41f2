"""Paints one person: chooses pose and colours, and calls the parts in order from back to front."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import UInt8
from numpy.random import Generator

from sfumato.portraits.accessories import draw_glasses, draw_hat
from sfumato.portraits.attributes import Attributes
from sfumato.portraits.body import draw_clothes, draw_neck
from sfumato.portraits.brush import Brush, Point
from sfumato.portraits.face import Look, draw_features, draw_head, draw_mouth
from sfumato.portraits.hair import Hair, draw_back_hair, draw_beard, draw_front_hair, draw_temples
from sfumato.portraits.palette import HAIR, HAT, IRIS, SKIN, mix, varied
from sfumato.portraits.scenes import draw_background

DEFAULT_SIZE: Final = 128
_PIVOT: Final[Point] = (64.0, 100.0)
_GREYING: Final = {"young": 0.0, "middle-aged": 0.0, "old": 0.22}


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where the head is: shift in units of 1/128 of the picture, tilt in degrees, `turn` in units."""

    shift: Point
    scale: float
    tilt: float
    turn: float


def draw_pose(generator: Generator) -> Pose:
    """A pose close enough to upright and centred that the face fills the picture."""
    return Pose(
        shift=(float(generator.uniform(-3, 3)), float(generator.uniform(-1, 3))),
        scale=float(generator.uniform(0.95, 1.03)),
        tilt=float(generator.uniform(-5, 5)),
        turn=float(generator.uniform(-2.6, 2.6)),
    )


def paint(
    attributes: Attributes, generator: Generator, *, size: int = DEFAULT_SIZE, pose: Pose | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """Paint a person.

    Args:
        attributes: what the picture must show.
        generator: numpy generator that decides all the rest (pose, tints, scenery); the same state gives the
            same picture.
        size: side of the square picture in pixels.
        pose: in place of the one that the generator decides; all else stays.

    Raises:
        ImportError: skia is not installed.
    """
    brush = Brush(size)
    drawn, look, hair = draw_pose(generator), *_appearance(attributes, generator)
    pose = pose or drawn
    draw_background(brush, attributes.background, generator)
    with brush.placed(shift=(pose.shift[0], pose.shift[1]), scale=pose.scale, tilt=pose.tilt, pivot=_PIVOT):
        draw_back_hair(brush, hair)
    with brush.placed(shift=(0.6 * pose.shift[0], pose.shift[1]), scale=1.0, tilt=0.0, pivot=_PIVOT):
        draw_neck(brush, look.skin, is_man=look.is_man)
        draw_clothes(brush, attributes.clothing, generator, is_man=look.is_man)
    look = _turned(look, pose.turn)
    with brush.placed(shift=pose.shift, scale=pose.scale, tilt=pose.tilt, pivot=_PIVOT):
        draw_head(brush, look)
        draw_features(brush, look)
        if attributes.beard != "none":
            draw_beard(brush, attributes.beard, hair.colour, look.turn)
        draw_mouth(brush, look)
        draw_front_hair(brush, hair)
        if attributes.age == "old" and attributes.hair_style not in ("bald", "curly"):
            draw_temples(brush, mix(hair.colour, (214, 214, 218), 0.7))
        if attributes.glasses == "glasses":
            draw_glasses(brush, look.turn)
        if attributes.hat != "none":
            choices = HAT[attributes.hat]
            draw_hat(brush, attributes.hat, choices[int(generator.integers(len(choices)))])
    return brush.picture()


def _appearance(attributes: Attributes, generator: Generator) -> tuple[Look, Hair]:
    is_man = attributes.gender == "man"
    hair_colour = varied(HAIR[attributes.hair_colour], generator, 5)
    hair_colour = mix(hair_colour, (206, 206, 210), _GREYING[attributes.age])
    irises = IRIS[attributes.ethnicity]
    look = Look(
        is_man=is_man,
        age=attributes.age,
        ethnicity=attributes.ethnicity,
        expression=attributes.expression,
        skin=varied(SKIN[attributes.ethnicity], generator, 4),
        hair=hair_colour,
        iris=irises[int(generator.integers(len(irises)))],
        turn=0.0,
    )
    hair = Hair(
        style=attributes.hair_style,
        colour=hair_colour,
        is_man=is_man,
        under_hat=attributes.hat != "none",
        parting=float(generator.uniform(-10, 10)),
    )
    return look, hair


def _turned(look: Look, turn: float) -> Look:
    return Look(**{**vars(look), "turn": turn})
