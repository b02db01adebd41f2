"""A shaped link: seconds per step as ``sfumato cost`` models them, beside measured ones."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sfumato.bench.one_run import Order, Outcome, merged, run
from sfumato.bench.ways import Way, bench_model, named_way
from sfumato.bench.written import Results
from sfumato.cost.counting import count_cost
from sfumato.cost.link import Link, parse_link
from sfumato.cost.means import as_json, mean_text
from sfumato.cost.result import Cost
from sfumato.protocols.base import StepCycle


@dataclass(frozen=True, kw_only=True)
class LinkRequest:
    """What the command line asked for."""

    model: str
    ways: Sequence[str]
    num_clouds: Sequence[int]
    link: str
    steps: int
    repeats: int
    height: int | None
    width: int | None
    out: Path | None


@dataclass(frozen=True, kw_only=True)
class Shaped:
    """One way on loopback and on the link."""

    way: Way
    cost: Cost
    loopback: Outcome
    shaped: Outcome
    repeats: int
    """Runs that each of the two was merged from."""

    @property
    def loopback_seconds(self) -> float:
        """Of a step, the median."""
        return median(self._seconds(self.loopback))

    @property
    def measured_seconds(self) -> list[float]:
        """Of every step on the link that was counted, or of every cycle its mean step."""
        return self._seconds(self.shaped)

    @property
    def modelled_seconds(self) -> float:
        """Of a step: what ``sfumato cost`` says for the link, and the computing that loopback shows."""
        return self.cost.seconds_per_step + self.loopback_seconds

    @property
    def ratio(self) -> float:
        """Modelled over measured."""
        return self.modelled_seconds / median(self.measured_seconds)

    @property
    def carried(self) -> float:
        """Bytes of TCP streams over counted bytes, both ways together."""
        assert self.shaped.forwarded is not None
        carried = self.shaped.forwarded.sent_bytes + self.shaped.forwarded.received_bytes
        per_run = [s.sent_bytes + s.received_bytes for s in self.shaped.steps]
        return carried / sum(per_run)

    def _seconds(self, outcome: Outcome) -> list[float]:
        seconds = [step.seconds for step in outcome.steps]
        per_run = len(seconds) // self.repeats
        cycle = self.way.spec.step_cycle
        return [s for i in range(self.repeats) for s in _of_cycles(seconds[i * per_run : (i + 1) * per_run], cycle)]


def _of_cycles(seconds: Sequence[float], cycle: StepCycle) -> list[float]:
    """Means of a run's whole cycles; its first step is not among the seconds."""
    starts = range(cycle.before - 1, len(seconds) - cycle.length + 1, cycle.length)
    return [sum(seconds[i : i + cycle.length]) / cycle.length for i in starts]


def measure(request: LinkRequest, ways: Sequence[Way], progress: Callable[[str], None]) -> list[Shaped]:
    """Runs every way on loopback and on the link, in turn."""
    model, link = bench_model(request.model), parse_link(request.link)
    found = []
    for way in ways:
        order = Order(
            way=way.spec.name,
            spec_json=way.spec.to_json(),
            model=str(model.path),
            steps=request.steps,
            height=request.height,
            width=request.width,
        )
        cost = count_cost(model, way.spec, link, height=request.height, width=request.width)
        loopback, shaped = [], []
        for _ in range(request.repeats):
            progress(f"{way.name}, loopback")
            loopback.append(run(order))
            progress(f"{way.name}, {link}")
            shaped.append(run(replace(order, link=_text(link))))
        pair = merged(loopback), merged(shaped)
        found.append(Shaped(way=way, cost=cost, loopback=pair[0], shaped=pair[1], repeats=request.repeats))
    return found


def _text(link: Link) -> str:
    return f"{link.up_mbit}/{link.down_mbit}/{link.rtt_milliseconds}"


def bench_link(request: LinkRequest) -> None:
    """Measures, prints and writes.

    Raises:
        ValueError: a link, a way, a number of clouds or a number of steps that cannot be.
    """
    if request.steps < 2:
        raise ValueError(f"--steps must be at least 2, because the first step is not counted, got {request.steps}")
    link = parse_link(request.link)
    ways = [named_way(text, n) for n, text in product(request.num_clouds, request.ways)]
    if (needed := max(sum(way.spec.step_cycle) for way in ways)) > request.steps:
        raise ValueError(f"--steps must be at least {needed}, so that a cycle of steps is whole, got {request.steps}")
    results = Results(folder=request.out, name="link")
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=2 * request.repeats * len(ways))
        found = measure(request, ways, lambda name: bar.update(task, description=name, advance=1))
    results.give([_row(request, each) for each in found], _table(request, link, found))


def _row(request: LinkRequest, found: Shaped) -> dict[str, Any]:
    assert found.shaped.forwarded is not None
    row = {
        "bench": "link",
        "model": request.model,
        **found.way.to_dict(),
        "link": found.cost.link,
        "inference_steps": request.steps,
        "height": found.cost.height,
        "width": found.cost.width,
        "rounds": found.cost.rounds,
        "sent_bytes": found.cost.sent_bytes,
        "received_bytes": found.cost.received_bytes,
        **({"cycle": asdict(found.cost.cycle)} if found.cost.cycle else {}),
        "link_seconds": found.cost.seconds_per_step,
        "loopback_seconds": found.loopback_seconds,
        "modelled_seconds": found.modelled_seconds,
        "measured_seconds": median(found.measured_seconds),
        "ratio": found.ratio,
        "carried_over_counted": found.carried,
        "forwarded": asdict(found.shaped.forwarded),
        "loopback_steps": [asdict(step) for step in found.loopback.steps],
        "measured_steps": [asdict(step) for step in found.shaped.steps],
    }
    return as_json(row)


def _table(request: LinkRequest, link: Link, found: Sequence[Shaped]) -> Table:
    title = f"One denoising step on {request.model} over {link}: median of {request.repeats * (request.steps - 1)}"
    caption = (
        "modelled = link + computing; link = rounds x round trip + transfer, as 'sfumato cost' counts; "
        "computing = the step on loopback"
    )
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("way", no_wrap=True)
    headings = ("rounds", "up, MB", "down, MB", "link, s", "computing, s", "modelled, s", "measured, s")
    for heading in (*headings, "modelled / measured", "on TCP / counted"):
        table.add_column(heading, justify="right")
    for each in found:
        measured = each.measured_seconds
        table.add_row(
            each.way.name,
            mean_text(each.cost.rounds),
            f"{each.cost.sent_bytes / 1e6:.2f}",
            f"{each.cost.received_bytes / 1e6:.2f}",
            f"{each.cost.seconds_per_step:.3f}",
            f"{each.loopback_seconds:.3f}",
            f"{each.modelled_seconds:.3f}",
            f"{median(measured):.3f} ({min(measured):.3f} to {max(measured):.3f})",
            f"{each.ratio:.3f}",
            f"{each.carried:.4f}",
        )
    return table
