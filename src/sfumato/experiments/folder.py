"""The output folder of one sweep: it belongs to that sweep and to no other."""

import json
from pathlib import Path
from typing import Any, Protocol

from sfumato.files import write_whole

_DESCRIPTION = "sweep.json"


class Described(Protocol):
    """A sweep that says in JSON values what it is."""

    def to_dict(self) -> dict[str, object]:
        """Equal for sweeps that may share a folder, and for no others."""


def claim_folder(folder: Path, sweep: Described) -> None:
    """Takes an empty folder for a sweep, or goes on in one that is the sweep's already.

    Raises:
        ValueError: the folder holds another sweep or other files, or its description cannot be read; names what
            differs.
    """
    description = folder / _DESCRIPTION
    wanted = json.loads(json.dumps(sweep.to_dict()))
    if description.is_file():
        _require_same(folder, _read(description), wanted)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} holds other files and no sweep: name a new folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(wanted, indent=1, sort_keys=True) + "\n"

    def write(stream: Any) -> None:
        stream.write(text.encode())

    write_whole(description, write)


def _read(description: Path) -> dict[str, Any]:
    try:
        content = json.loads(description.read_text())
    except (ValueError, OSError) as error:
        raise ValueError(f"{description} cannot be read: name a new folder with --out") from error
    if not isinstance(content, dict):
        raise ValueError(f"{description} does not describe a sweep: name a new folder with --out")
    return content


def _require_same(folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    differing = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
    if differing:
        raise ValueError(
            f"{folder} holds another sweep, with other {' and '.join(d.replace('_', ' ') for d in differing)}: "
            "name a new folder with --out, or give the settings that it was made with"
        )
