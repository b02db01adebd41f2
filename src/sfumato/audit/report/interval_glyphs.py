"""A row's interval as a small drawing, on one scale for all rows of a metric."""

from collections.abc import Iterable
from dataclasses import dataclass

from sfumato.audit.tables import Line

WIDTH = 120
_MARGIN = 5


@dataclass(frozen=True, kw_only=True)
class Glyph:
    """Places on the x axis."""

    zero: float
    low: float
    high: float
    mean: float
    in_the_clear: float | None


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Of one metric, in its own unit."""

    low: float
    high: float

    @classmethod
    def of(cls, rows: Iterable[Line]) -> "Scale":
        """Holds all rows, and 0."""
        told = [(line.row, *((line.in_the_clear,) if line.in_the_clear else ())) for line in rows]
        means = [each.leakage for found in told for each in found]
        low = min([0.0, *means, *(found[0].interval.low for found in told)])
        high = max([0.0, *means, *(found[0].interval.high for found in told)])
        return cls(low=low, high=high if high > low else low + 1)

    def glyph(self, line: Line) -> Glyph:
        """Where a row stands."""
        clear = line.in_the_clear
        return Glyph(
            zero=self._at(0.0),
            low=self._at(line.row.interval.low),
            high=self._at(line.row.interval.high),
            mean=self._at(line.row.leakage),
            in_the_clear=None if clear is None else self._at(clear.leakage),
        )

    def _at(self, value: float) -> float:
        return round(_MARGIN + (WIDTH - 2 * _MARGIN) * (value - self.low) / (self.high - self.low), 1)
