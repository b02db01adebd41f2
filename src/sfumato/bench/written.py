"""What a bench writes: its table as text, its rows as JSON lines, and pictures."""

import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from sfumato.errors import Unsupported
from sfumato.files import write_whole
from sfumato.version import VERSION

_WIDTH = 180


@dataclass(frozen=True, kw_only=True)
class Results:
    """Where a bench's results go."""

    folder: Path | None
    """None prints only."""
    name: str
    """Of the bench, and of its files."""

    def __post_init__(self) -> None:
        if self.folder is None:
            return
        if missing := [module for module in ("polars", "matplotlib") if find_spec(module) is None]:
            raise Unsupported(f"--out needs {' and '.join(missing)}: pip install 'sfumato[experiments]'")
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"--out must name a folder, got the file {self.folder}")
        self.folder.mkdir(parents=True, exist_ok=True)

    def give(self, rows: Iterable[dict[str, Any]], *shown: RenderableType) -> None:
        """Prints tables, and writes them and the rows, each with what it was made by."""
        console = Console()
        if not console.is_terminal:
            console = Console(width=_WIDTH)
        for each in shown:
            console.print(each)
        if self.folder is None:
            return
        made_by = _made_by()
        self.write(f"{self.name}.jsonl", "".join(json.dumps({**row, **made_by}) + "\n" for row in rows).encode())
        plain = Console(record=True, width=_WIDTH, file=io.StringIO(), color_system=None)
        for each in shown:
            plain.print(each)
        text = "\n".join(line.rstrip() for line in plain.export_text().splitlines())
        self.write(f"{self.name}.txt", f"{text}\n".encode())

    def write(self, name: str, content: bytes) -> None:
        """Writes one file, whole or not at all; nothing without a folder."""
        if self.folder is not None:
            write_whole(self.folder / name, lambda stream: _put(stream, content))


def _put(stream: Any, content: bytes) -> None:
    stream.write(content)


def _made_by() -> dict[str, Any]:
    import torch

    from sfumato.experiments.picturing import current_commit

    return {
        "sfumato": VERSION,
        "commit": current_commit(),
        "torch": torch.__version__,
        "device": "cpu",
        "cores": os.cpu_count(),
    }
