"""Short clips: one person who moves a little, smoothly, in front of a scene that stays."""

from math import pi, sin
from typing import Final

import numpy as np
from jaxtyping import UInt8
from numpy.random import Generator, default_rng

from sfumato.portraits.attributes import Attributes, draw_attributes
from sfumato.portraits.captions import caption
from sfumato.portraits.painter import DEFAULT_SIZE, Pose, draw_pose, paint

_LARGEST_SEED: Final = 2**63
_FRAMES_THERE: Final = 8
"""In so many a person goes to another pose, slower and slower, and then back."""


def clip(
    generator: Generator, num_frames: int, *, size: int = DEFAULT_SIZE
) -> tuple[UInt8[np.ndarray, "frame height width 3"], Attributes, str]:
    """Draw a captioned clip.

    Args:
        generator: numpy generator; the same state gives the same clip, and the same first frame for any number.
        num_frames: at least 1.
        size: side of the square pictures in pixels.

    Returns:
        The frames in order, what they show, and a caption.
    """
    attributes = draw_attributes(generator)
    text, seed = caption(attributes, generator), int(generator.integers(_LARGEST_SEED))
    start, goal = draw_pose(generator), draw_pose(generator)
    frames = [
        paint(attributes, default_rng(seed), size=size, pose=_between(start, goal, sin(pi / 2 * frame / _FRAMES_THERE)))
        for frame in range(num_frames)
    ]
    return np.stack(frames), attributes, text


def _between(start: Pose, goal: Pose, share: float) -> Pose:
    def at(a: float, b: float) -> float:
        return a + (b - a) * share

    return Pose(
        shift=(at(start.shift[0], goal.shift[0]), at(start.shift[1], goal.shift[1])),
        scale=at(start.scale, goal.scale),
        tilt=at(start.tilt, goal.tilt),
        turn=at(start.turn, goal.turn),
    )
