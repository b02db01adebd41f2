"""Which messages of any protocol bear on what an attack reads."""

from collections.abc import Mapping
from typing import Any

from sfumato.attacks.seen.catalog import READERS


def bears_on(kind: str, values: Mapping[str, Any], *what: str) -> bool:
    """Whether some reader reads one of these in a message; see ``Reader.keeps``."""
    return any(reader.keeps(each, kind, values) for reader in READERS.values() for each in what)
