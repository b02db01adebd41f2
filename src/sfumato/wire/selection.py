"""Which messages of a transcript are kept with their tensors: a run's are gigabytes, and an attack reads few."""

from collections.abc import Callable, Mapping
from typing import Any

Keeps = Callable[[str, Mapping[str, Any]], bool]
"""Called with a message's kind and plain fields; whether its tensors are wanted."""


def keep_all(kind: str, values: Mapping[str, Any]) -> bool:  # noqa: ARG001
    """Keeps every tensor."""
    return True


def keep_none(kind: str, values: Mapping[str, Any]) -> bool:  # noqa: ARG001
    """Keeps sizes, times and plain fields only."""
    return False


def keep_any(choices: "list[Keeps]") -> Keeps:
    """Keeps what one of several wants."""
    return lambda kind, values: any(keeps(kind, values) for keeps in choices)
