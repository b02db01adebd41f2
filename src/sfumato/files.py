"""Outputs that are whole or absent: written under a temporary name, then renamed."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO


def check_writable(path: Path) -> None:
    """Finds out before a long run whether its output can be written.

    Raises:
        ValueError: the folder does not exist or may not be written, or the path is a folder.
    """
    folder = path.parent
    if not folder.is_dir():
        raise ValueError(f"cannot write {path}: the folder {folder} does not exist; make it first")
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder; name a file")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"cannot write {path}: no permission to write in {folder}")


def write_whole(path: Path, write: Callable[[IO[bytes]], object], *, private: bool = False) -> None:
    """Writes a file so that a crash leaves the old one or none, never half of one.

    Args:
        path: the file.
        write: writes its content.
        private: only this user may read it, from its first byte on.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        if not private:
            os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
