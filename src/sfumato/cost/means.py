"""Means over the steps of a cycle, kept exact: times the number of steps they are what a run's counters show."""

from fractions import Fraction
from typing import Any

Mean = int | Fraction
"""An int where it is whole."""


def mean(total: Mean, num_steps: int) -> Mean:
    """What each of some steps spends on average.

    Example:
        >>> mean(6, 2), mean(7, 2)
        (3, Fraction(7, 2))
    """
    exact = Fraction(total) / num_steps
    return exact.numerator if exact.denominator == 1 else exact


def mean_text(value: Mean) -> str:
    """A number of things: whole as it is, else with one digit after the point."""
    return str(value) if value == int(value) else f"{float(value):.1f}"


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """JSON values for a row with means in it: whole ones as integers, others as floats."""
    return {key: _json_value(value) for key, value in row.items()}


def _json_value(value: Any) -> Any:
    match value:
        case dict():
            return as_json(value)
        case Fraction():
            return value.numerator if value.denominator == 1 else float(value)
    return value
