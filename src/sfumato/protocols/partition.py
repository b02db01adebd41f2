"""Strips and halos: which rows of every feature map belong to which cloud.

Rows are cut once, at the height of the latent, and the same cut follows the map down the U-Net: at each halving
cut ``c`` becomes ``ceil(c / 2)``, exactly as a stride-2 convolution with padding 1 halves the height. A strip's rows
at one level therefore depend on the same strip's rows, plus a halo, at every other level; a cloud never comes to hold
rows from another part of the picture because a height was odd.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple


class Rows(NamedTuple):
    """Half-open range of rows."""

    start: int
    stop: int

    @property
    def num_rows(self) -> int:
        """How many rows."""
        return self.stop - self.start


class Window(NamedTuple):
    """Input rows that a convolution needs to produce one strip of its output."""

    rows: Rows
    pad_top: int
    pad_bottom: int


def _halved(cuts: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-c // 2) for c in cuts)


def _even_cuts(height: int, num_strips: int) -> tuple[int, ...]:
    return tuple((i * height + num_strips // 2) // num_strips for i in range(num_strips + 1))


def _grows(cuts: tuple[int, ...]) -> bool:
    return all(a < b for a, b in pairwise(cuts))


@dataclass(frozen=True)
class Partition:
    """The cut of every height that a U-Net's feature maps have.

    Args:
        height: rows of the latent.
        num_strips: one per cloud.
        num_levels: resolutions of the U-Net; the deepest map has ``height`` halved ``num_levels - 1`` times.

    Raises:
        ValueError: more strips than the deepest map has rows.
    """

    height: int
    num_strips: int
    num_levels: int

    def __post_init__(self) -> None:
        if self.num_strips > (deepest := self.heights()[-1]):
            raise ValueError(
                f"num_clouds must be at most {deepest}, the rows of the deepest feature map for a latent of "
                f"{self.height} rows, got {self.num_strips}: use fewer clouds or a taller picture"
            )

    def heights(self) -> tuple[int, ...]:
        """Rows of the feature map at each level, top first."""
        out = [self.height]
        for _ in range(self.num_levels - 1):
            out.append(-(-out[-1] // 2))
        return tuple(out)

    @cached_property
    def cuts(self) -> dict[int, tuple[int, ...]]:
        """For each height: the row at which every strip starts, and the height itself last."""
        table = self._top_down()
        return table if all(_grows(c) for c in table.values()) else self._bottom_up()

    def _top_down(self) -> dict[int, tuple[int, ...]]:
        cuts = _even_cuts(self.height, self.num_strips)
        table = {self.height: cuts}
        for height in self.heights()[1:]:
            cuts = _halved(cuts)
            table[height] = cuts
        return table

    def _bottom_up(self) -> dict[int, tuple[int, ...]]:
        # Even cuts at the top can leave a strip without rows at the bottom; growing them from there cannot.
        heights = self.heights()[::-1]
        cuts = _even_cuts(heights[0], self.num_strips)
        table = {heights[0]: cuts}
        for height in heights[1:]:
            cuts = tuple(min(2 * c, height) for c in cuts)
            table[height] = cuts
        return table

    def strips(self, height: int) -> list[Rows]:
        """The rows of each strip in a map of this height.

        Raises:
            ValueError: no feature map of this model has that height.
        """
        cuts = self.cuts.get(height)
        if cuts is None:
            raise ValueError(f"a feature map of {height} rows does not belong to a latent of {self.height} rows")
        return [Rows(a, b) for a, b in pairwise(cuts)]


def window(strip: Rows, height: int, *, kernel: int, stride: int, padding: int) -> Window:
    """Finds the input rows that a strip of a convolution's output needs.

    Args:
        strip: rows of the output.
        height: rows of the whole input.
        kernel, stride, padding: the convolution's, along the rows.

    Returns:
        The rows within the input, and how many rows of zeros the true border adds above and below.
    """
    first = strip.start * stride - padding
    last = (strip.stop - 1) * stride - padding + kernel
    return Window(Rows(max(first, 0), min(last, height)), max(-first, 0), max(last - height, 0))
