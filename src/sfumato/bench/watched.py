"""A command as a whole process: how long it took, and how much memory it and its children held."""

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A command that has ended well."""

    seconds: float
    peak_bytes: int
    """Peak resident memory of the process that was started."""
    largest_child_bytes: int
    """Peak of the largest of its descendants; pages that processes share are divided among them (PSS)."""
    children_bytes: int
    """Peak of all its descendants together (PSS)."""


def watch(name: str, arguments: Sequence[str], poll_seconds: float = 0.05) -> Watched:
    """Runs a command to its end; what it prints is dropped.

    Raises:
        RuntimeError: the command failed.
    """
    # Idle threads sleep in every command alike; spinning ones make timings on a shared machine meaningless.
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    with tempfile.TemporaryFile() as stderr:
        started = time.perf_counter()
        process = subprocess.Popen(list(arguments), stdout=subprocess.DEVNULL, stderr=stderr, env=environment)
        largest = together = 0
        try:
            while True:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    break
                sizes = [_pss(child) for child in _descendants(process.pid)]
                largest, together = max([largest, *sizes]), max(together, sum(sizes))
                time.sleep(poll_seconds)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            stderr.seek(0)
            said = stderr.read().decode(errors="replace").strip()
            raise RuntimeError(f"{name} failed: {said[-300:]}")
    return Watched(
        seconds=seconds,
        peak_bytes=usage.ru_maxrss * 1024,
        largest_child_bytes=largest,
        children_bytes=together,
    )


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    except OSError:
        return found
    return found
