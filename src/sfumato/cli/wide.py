"""Tables on a terminal, and in files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


def print_wide(tables: "Sequence[RenderableType]") -> None:
    """Prints to the terminal's width, and wide into files."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    for table in tables:
        console.print(table)
