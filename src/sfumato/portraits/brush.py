"""The few drawing operations the painter needs, on top of skia: the only module that imports it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8

from sfumato.portraits.palette import Colour

Point = tuple[float, float]
UNITS: Final = 128
"""Side of the square canvas in drawing units, whatever the size in pixels."""


@dataclass(frozen=True, kw_only=True)
class Shade:
    """A gradient between two points; radial around `start` if `radial`, else along the line."""

    start: Point
    end: Point
    colours: tuple[Colour, ...]
    radial: bool = False


Paint = Colour | Shade


def _load_skia() -> Any:
    try:
        import skia
    except ImportError as error:
        raise ImportError("painting portraits needs skia: pip install 'sfumato[portraits]'") from error
    return skia


class Brush:
    """An antialiased canvas of `UNITS` x `UNITS` drawing units.

    Args:
        size: side of the finished picture in pixels.
    """

    def __init__(self, size: int) -> None:
        self._skia = _load_skia()
        self._pixels = np.zeros((size, size, 4), np.uint8)
        self._surface = self._skia.Surface(self._pixels)
        self._canvas = self._surface.getCanvas()
        self._canvas.scale(size / UNITS, size / UNITS)

    def picture(self) -> UInt8[np.ndarray, "height width 3"]:
        """The finished picture, red-green-blue."""
        self._surface.flushAndSubmit()
        image = self._surface.makeImageSnapshot().toarray(colorType=self._skia.kRGBA_8888_ColorType)
        return np.ascontiguousarray(image[:, :, :3])

    @contextmanager
    def placed(self, *, shift: Point, scale: float, tilt: float, pivot: Point) -> Iterator[None]:
        """Draw the enclosed strokes moved by `shift` units, turned by `tilt` degrees about `pivot`."""
        self._canvas.save()
        self._canvas.translate(pivot[0] + shift[0], pivot[1] + shift[1])
        self._canvas.rotate(tilt)
        self._canvas.scale(scale, scale)
        self._canvas.translate(-pivot[0], -pivot[1])
        yield
        self._canvas.restore()

    def fill_all(self, paint: Paint) -> None:
        """Cover the canvas."""
        self.box(-UNITS, -UNITS, 3 * UNITS, 3 * UNITS, paint)

    def box(self, left: float, top: float, width: float, height: float, paint: Paint) -> None:
        """A filled rectangle."""
        self._canvas.drawRect(self._skia.Rect.MakeXYWH(left, top, width, height), self._fill(paint))

    def oval(self, centre: Point, radii: Point, paint: Paint, *, alpha: float = 1.0, outline: float = 0.0) -> None:
        """An ellipse; only its border, `outline` units wide, if that is given."""
        rect = self._skia.Rect.MakeXYWH(centre[0] - radii[0], centre[1] - radii[1], 2 * radii[0], 2 * radii[1])
        self._canvas.drawOval(rect, self._fill(paint, alpha, outline))

    def ring(self, centre: Point, radii: Point, corner: float, paint: Paint, width: float) -> None:
        """The border of a rectangle with round corners."""
        rect = self._skia.Rect.MakeXYWH(centre[0] - radii[0], centre[1] - radii[1], 2 * radii[0], 2 * radii[1])
        self._canvas.drawRoundRect(rect, corner, corner, self._fill(paint, 1.0, width))

    def blob(self, points: Sequence[Point], paint: Paint, *, alpha: float = 1.0) -> None:
        """A filled closed curve that passes smoothly through all points."""
        self._canvas.drawPath(self._curve(points, closed=True), self._fill(paint, alpha))

    def polygon(self, points: Sequence[Point], paint: Paint) -> None:
        """A filled polygon with sharp corners."""
        path = self._skia.Path()
        path.addPoly([self._skia.Point(*point) for point in points], True)
        self._canvas.drawPath(path, self._fill(paint))

    def stroke(self, points: Sequence[Point], paint: Paint, width: float, *, alpha: float = 1.0) -> None:
        """A line with round ends that passes smoothly through all points."""
        self._canvas.drawPath(self._curve(points, closed=False), self._fill(paint, alpha, width))

    def _curve(self, points: Sequence[Point], *, closed: bool) -> Any:
        """A Catmull-Rom spline as cubic Bezier segments."""
        count = len(points)
        path = self._skia.Path()
        path.moveTo(*points[0])
        for index in range(count if closed else count - 1):
            before, start, end, after = (
                points[place % count] if closed else points[min(max(place, 0), count - 1)]
                for place in range(index - 1, index + 3)
            )
            path.cubicTo(
                start[0] + (end[0] - before[0]) / 6,
                start[1] + (end[1] - before[1]) / 6,
                end[0] - (after[0] - start[0]) / 6,
                end[1] - (after[1] - start[1]) / 6,
                end[0],
                end[1],
            )
        if closed:
            path.close()
        return path

    def _fill(self, paint: Paint, alpha: float = 1.0, outline: float = 0.0) -> Any:
        skia = self._skia
        brush = skia.Paint(AntiAlias=True)
        if isinstance(paint, Shade):
            colours = [skia.Color(*colour) for colour in paint.colours]
            ends = [skia.Point(*paint.start), skia.Point(*paint.end)]
            if paint.radial:
                radius = float(np.hypot(paint.end[0] - paint.start[0], paint.end[1] - paint.start[1]))
                shader = skia.GradientShader.MakeRadial(center=ends[0], radius=radius, colors=colours)
            else:
                shader = skia.GradientShader.MakeLinear(points=ends, colors=colours)
            brush.setShader(shader)
        else:
            brush.setColor(skia.Color(*paint))
        brush.setAlphaf(alpha)
        if outline:
            brush.setStyle(skia.Paint.kStroke_Style)
            brush.setStrokeWidth(outline)
            brush.setStrokeCap(skia.Paint.kRound_Cap)
            brush.setStrokeJoin(skia.Paint.kRound_Join)
        return brush


def mirrored(half: Sequence[Point], axis: float) -> list[Point]:
    """A symmetric outline: `half` (offsets right of the axis, from top to bottom) and its mirror image."""
    right = [(axis + x, y) for x, y in half]
    left = [(axis - x, y) for x, y in reversed(half) if x != 0]
    return right + left
