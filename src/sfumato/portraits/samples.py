"""Endless captioned portraits: one draw of person, picture and words."""

import numpy as np
from jaxtyping import UInt8
from numpy.random import Generator

from sfumato.portraits.attributes import Attributes, draw_attributes
from sfumato.portraits.captions import caption
from sfumato.portraits.painter import DEFAULT_SIZE, paint


def sample(
    generator: Generator, *, size: int = DEFAULT_SIZE
) -> tuple[UInt8[np.ndarray, "height width 3"], Attributes, str]:
    """Draw a captioned portrait.

    Args:
        generator: numpy generator; the same state gives the same sample.
        size: side of the square picture in pixels.

    Returns:
        The picture (red-green-blue), what it shows, and a caption that names most of it.

    Example:
        >>> import numpy as np
        >>> picture, attributes, text = sample(np.random.default_rng(0))
    """
    attributes = draw_attributes(generator)
    return paint(attributes, generator, size=size), attributes, caption(attributes, generator)
