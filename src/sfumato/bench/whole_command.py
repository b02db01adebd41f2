"""Whole ``generate`` commands, cold, beside the same picture by a stock diffusers script.

The commands take turns, so that other load on the machine hits all alike, and every ratio is of medians of one run.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sfumato.bench import stock_script
from sfumato.bench.watched import watch
from sfumato.models.folder import find_model

PROMPT = "a young woman with red hair and glasses, blue background"
SEED = 7
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Command:
    """One way to make the picture."""

    name: str
    arguments: list[str]


@dataclass(kw_only=True)
class Measured:
    """Runs of one command."""

    seconds: list[float] = field(default_factory=list)
    client_bytes: list[int] = field(default_factory=list)
    """Peak resident memory of the process that was started."""
    cloud_bytes: list[int] = field(default_factory=list)
    """Peak of the largest cloud; pages that clouds share are divided among them (PSS)."""
    reports: list[dict[str, float]] = field(default_factory=list)


def commands(model: Path, steps: int, folder: Path) -> list[Command]:
    """The baseline and ours, same prompt, seed, scheduler and steps."""
    sfumato = [sys.executable, "-m", "sfumato", "generate", PROMPT, "--model", str(model), "--seed", str(SEED)]
    sfumato += ["--steps", str(steps), "--out", str(folder / "ours.png"), "--report", str(folder / "report.json")]
    stock = [sys.executable, str(stock_script.__file__), str(model), PROMPT, str(steps), str(SEED)]
    return [
        Command(name="stock diffusers", arguments=[*stock, str(folder / "stock.png")]),
        Command(name="plain, 1 cloud", arguments=[*sfumato, "--protocol", "plain", "--local-clouds", "1"]),
        Command(name="layer-split, 4 clouds", arguments=[*sfumato, "--protocol", "layer-split", "--local-clouds", "4"]),
    ]


def run_once(command: Command, into: Measured, report: Path) -> None:
    """Runs a command as a whole process and adds what it took.

    Raises:
        RuntimeError: the command failed.
    """
    report.unlink(missing_ok=True)
    watched = watch(command.name, command.arguments)
    into.seconds.append(watched.seconds)
    into.client_bytes.append(watched.peak_bytes)
    into.cloud_bytes.append(watched.largest_child_bytes)
    if report.exists():
        into.reports.append(json.loads(report.read_text())["totals"])


def measure(
    model: Path, *, steps: int, repeats: int, progress: Callable[[str], None] = lambda _: None
) -> dict[str, Measured]:
    """Runs every command ``repeats`` times, in turn, after one run each that does not count."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways = commands(model, steps, folder)
        found = {way.name: Measured() for way in ways}
        for turn in range(repeats + 1):
            for way in ways:
                progress(way.name)
                run_once(way, found[way.name] if turn else Measured(), folder / "report.json")
    return found


def bench_generate(model: str, *, steps: int, repeats: int) -> None:
    """Measures and prints."""
    path = find_model(model).path
    console = Console()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=3 * (repeats + 1))

        def progress(name: str) -> None:
            bar.update(task, description=name, advance=1)

        one = measure(path, steps=1, repeats=max(1, repeats // 2))
        bar.reset(task)
        whole = measure(path, steps=steps, repeats=repeats, progress=progress)
    console.print(_help_line(repeats))
    console.print(_seconds_table(one, whole, steps))
    console.print(_memory_table(whole))
    console.print(_where_table(whole["layer-split, 4 clouds"], steps))


def _help_line(repeats: int) -> str:
    """How long ``--help`` takes, beside what a command that loads torch first could at best take."""
    ways = (
        Command(name="sfumato --help", arguments=[sys.executable, "-m", "sfumato", "--help"]),
        Command(name="import torch", arguments=[sys.executable, "-c", "import torch"]),
    )
    found = {way.name: Measured() for way in ways}
    for _ in range(repeats):
        for way in ways:
            run_once(way, found[way.name], Path(os.devnull + ".none"))
    seconds = {name: median(measured.seconds) for name, measured in found.items()}
    text = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
    return f"{text}: ratio {seconds['sfumato --help'] / seconds['import torch']:.2f}\n"


def _seconds_table(one: dict[str, Measured], whole: dict[str, Measured], steps: int) -> Table:
    table = Table(title="Whole command, cold, seconds (median, least, most)", title_justify="left")
    table.add_column("command")
    for heading in ("1 step", "ratio", f"{steps} steps", "ratio", "s a step"):
        table.add_column(heading, justify="right")
    first, base = one["stock diffusers"], whole["stock diffusers"]
    for name, measured in whole.items():
        slope = (median(measured.seconds) - median(one[name].seconds)) / max(1, steps - 1)
        table.add_row(
            name,
            _spread(one[name].seconds),
            f"{median(one[name].seconds) / median(first.seconds):.2f}",
            _spread(measured.seconds),
            f"{median(measured.seconds) / median(base.seconds):.2f}",
            f"{slope:.3f}",
        )
    return table


def _memory_table(whole: dict[str, Measured]) -> Table:
    table = Table(title="Peak memory, MiB (median)", title_justify="left")
    for heading in ("command", "client or script", "ratio", "largest cloud (PSS)", "ratio"):
        table.add_column(heading, justify="left" if heading == "command" else "right")
    base = median(whole["stock diffusers"].client_bytes)
    for name, measured in whole.items():
        client, cloud = median(measured.client_bytes), median(measured.cloud_bytes)
        cells = (f"{client / _MIB:.0f}", f"{client / base:.2f}")
        table.add_row(name, *cells, *((f"{cloud / _MIB:.0f}", f"{cloud / base:.2f}") if cloud else ("", "")))
    return table


def _where_table(measured: Measured, steps: int) -> Table:
    table = Table(title="layer-split, 4 clouds: where the time of a step goes", title_justify="left")
    for heading in ("part", "ms a step", "share"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    seconds = {name: median(r[name] for r in measured.reports) for name in measured.reports[0]}
    total, codec = seconds["seconds"], seconds["codec_seconds"]
    waiting = seconds["waiting_seconds"] - codec
    parts = {"client compute": total - waiting - codec, "client codec": codec, "waiting for clouds": waiting}
    for name, part in parts.items():
        table.add_row(name, f"{1000 * part / steps:.1f}", f"{part / total:.0%}")
    return table


def _spread(seconds: list[float]) -> str:
    return f"{median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
