"""Bytes, rounds and seconds of a step against the number of clouds and the size of the picture.

Counted, without weights, on a large architecture; measured on a small model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sfumato.bench.steps import StepsRequest, Timed, steps_row
from sfumato.bench.steps import measure as measure_steps
from sfumato.bench.ways import Way, named_way
from sfumato.bench.written import Results
from sfumato.cost.counting import count_cost
from sfumato.cost.link import parse_link
from sfumato.cost.means import as_json, mean_text
from sfumato.cost.result import Cost
from sfumato.models.folder import find_architecture


@dataclass(frozen=True, kw_only=True)
class ScalingRequest:
    """What the command line asked for."""

    counted_model: str
    measured_model: str
    ways: Sequence[str]
    num_clouds: Sequence[int]
    sizes: Sequence[int]
    """Height and width in pixels that are counted."""
    measured_sizes: Sequence[int]
    """The same for what is measured; empty measures nothing."""
    link: str
    steps: int
    repeats: int
    out: Path | None

    @property
    def usual_clouds(self) -> int:
        """Where only the size varies: the middle of the numbers of clouds."""
        return sorted(self.num_clouds)[len(self.num_clouds) // 2]


@dataclass(frozen=True, kw_only=True)
class Counted:
    """One way at one size."""

    way: Way
    size: int
    cost: Cost | None
    """None where the protocol refuses, because there are more clouds than rows."""
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All ways at one size, local diffusers first."""

    size: int
    timed: Sequence[Timed]


def count(request: ScalingRequest) -> Iterator[Counted]:
    """Counts every way, number of clouds and size."""
    model, link = find_architecture(request.counted_model), parse_link(request.link)
    for text, n, size in product(request.ways, request.num_clouds, request.sizes):
        way = named_way(text, n)
        try:
            cost = count_cost(model, way.spec, link, height=size, width=size)
        except ValueError as error:
            yield Counted(way=way, size=size, cost=None, refusal=str(error))
        else:
            yield Counted(way=way, size=size, cost=cost)


def measure(request: ScalingRequest, progress: Callable[[str], None]) -> Iterator[Measured]:
    """Runs every way with every number of clouds at the first size, and with the usual number at the others."""
    steps = StepsRequest(
        model=request.measured_model,
        ways=request.ways,
        num_clouds=request.num_clouds,
        steps=request.steps,
        repeats=request.repeats,
        guidance_scale=5.0,
        height=None,
        width=None,
        pictures=False,
        out=None,
    )
    for place, size in enumerate(request.measured_sizes):
        numbers = [request.usual_clouds] if place else request.num_clouds
        ways = [None, *(named_way(text, n) for text, n in product(request.ways, numbers))]
        sized = replace(steps, height=size, width=size)
        yield Measured(size=size, timed=measure_steps(sized, ways, progress))


def bench_scaling(request: ScalingRequest) -> None:
    """Counts, measures, prints and writes.

    Raises:
        ValueError: a way, a size, a link, or a number of clouds or steps that cannot be.
    """
    if request.steps < 2:
        raise ValueError(f"--steps must be at least 2, because the first step is not counted, got {request.steps}")
    results = Results(folder=request.out, name="scaling")
    with Progress(console=Console(stderr=True), transient=True) as bar:
        total = len(request.ways) * len(request.num_clouds) * len(request.sizes)
        task = bar.add_task(f"counting on {request.counted_model}", total=total)
        counted = []
        for each in count(request):
            counted.append(each)
            bar.advance(task)
        per_size = len(request.ways) * (len(request.num_clouds) + len(request.measured_sizes) - 1)
        runs = request.repeats * (per_size + len(request.measured_sizes)) if request.measured_sizes else 0
        task = bar.add_task("measuring", total=runs)
        measured = list(measure(request, lambda name: bar.update(task, description=name, advance=1)))
    tables = [_counted_table(request, counted)] + ([_measured_table(request, measured)] if measured else [])
    results.give(_rows(request, counted, measured), *tables)
    if request.out is not None:
        results.write("scaling.png", _plot(request, counted, measured))


def _rows(
    request: ScalingRequest, counted: Sequence[Counted], measured: Sequence[Measured]
) -> Iterator[dict[str, Any]]:
    for each in counted:
        row = {"bench": "scaling", "kind": "counted", "model": request.counted_model, **each.way.to_dict()}
        row |= {"height": each.size, "width": each.size, "refusal": each.refusal or None}
        if cost := each.cost:
            row |= {"link": cost.link, "rounds": cost.rounds, "modelled_seconds": cost.seconds_per_step}
            row |= {"sent_bytes": cost.sent_bytes, "received_bytes": cost.received_bytes}
            row |= {"client_flops": cost.compute.client_flops, "cloud_flops": cost.compute.cloud_flops}
            row |= {"cycle": asdict(cost.cycle)} if cost.cycle else {}
        yield as_json(row)
    for group in measured:
        for timed in group.timed:
            row = steps_row(timed, group.timed[0])
            yield {
                "bench": "scaling",
                "kind": "measured",
                "model": request.measured_model,
                **row,
                "height": group.size,
                "width": group.size,
            }


def _counted_table(request: ScalingRequest, counted: Sequence[Counted]) -> Table:
    title = f"One denoising step on {request.counted_model}, counted; seconds modelled on {parse_link(request.link)}"
    table = Table(title=title, title_justify="left")
    table.add_column("way", no_wrap=True)
    table.add_column("pixels", justify="right")
    for heading in ("rounds", "up, MB", "down, MB", "link, s", "client, GFLOP", "clouds, GFLOP"):
        table.add_column(heading, justify="right")
    for text in request.ways:
        for each in (c for c in counted if c.way.text == " ".join(text.split())):
            cells = [each.way.name, str(each.size)]
            if cost := each.cost:
                cells += [mean_text(cost.rounds), f"{cost.sent_bytes / 1e6:.1f}", f"{cost.received_bytes / 1e6:.1f}"]
                cells += [f"{cost.seconds_per_step:.2f}", f"{float(cost.compute.client_flops) / 1e9:.0f}"]
                cells += [f"{float(cost.compute.cloud_flops) / 1e9:.0f}"]
            else:
                cells += ["refused"]
            table.add_row(*cells)
        table.add_section()
    return table


def _measured_table(request: ScalingRequest, measured: Sequence[Measured]) -> Table:
    counted = f"{request.repeats * (request.steps - 1)} steps after the first"
    title = f"One denoising step on {request.measured_model} over local clouds, seconds: median of {counted}"
    table = Table(title=title, title_justify="left")
    table.add_column("way", no_wrap=True)
    for heading in ("pixels", "a step", "ratio", "rounds", "up, MB", "down, MB", "waiting"):
        table.add_column(heading, justify="right")
    for group in measured:
        base = group.timed[0].outcome.seconds
        for timed in group.timed:
            outcome = timed.outcome
            cells = [str(group.size), f"{outcome.seconds:.3f}", f"{outcome.seconds / base:.2f}"]
            if timed.way:
                cells += [f"{outcome.mean('rounds'):.0f}", f"{outcome.mean('sent_bytes') / 1e6:.2f}"]
                cells += [f"{outcome.mean('received_bytes') / 1e6:.2f}", f"{outcome.waiting_share:.0%}"]
            table.add_row(timed.name, *cells)
        table.add_section()
    return table


def _plot(request: ScalingRequest, counted: Sequence[Counted], measured: Sequence[Measured]) -> bytes:
    from sfumato.bench.line_panels import LinePanel, draw_lines

    n, size = request.usual_clouds, sorted(request.sizes)[(len(request.sizes) - 1) // 2]
    counts = (
        ("up + down, MB", lambda c: float(c.sent_bytes + c.received_bytes) / 1e6),
        ("rounds", lambda c: float(c.rounds)),
        ("link, s", lambda c: c.seconds_per_step),
    )

    def lines(key: Callable[[Counted], int], keep: Callable[[Counted], bool], value: Callable[[Cost], float]) -> Any:
        return {
            text: [(key(c), value(c.cost)) for c in counted if c.way.text == text and keep(c) and c.cost]
            for text in dict.fromkeys(c.way.text for c in counted)
        }

    by_clouds = [
        LinePanel(
            heading=f"{request.counted_model}, {size} pixels",
            x_label="clouds",
            y_label=label,
            lines=lines(lambda c: c.way.spec.num_clouds, lambda c: c.size == size, value),
        )
        for label, value in counts
    ]
    by_size = [
        LinePanel(
            heading=f"{request.counted_model}, n = {n}",
            x_label="pixels each way",
            y_label=label,
            lines=lines(lambda c: c.size, lambda c: c.way.spec.num_clouds == n, value),
        )
        for label, value in counts
    ]
    if measured:
        by_clouds.append(_measured_panel(request, measured, None))
        by_size.append(_measured_panel(request, measured, n))
    return draw_lines("One denoising step, both guidance halves", [by_clouds, by_size])


def _measured_panel(request: ScalingRequest, measured: Sequence[Measured], num_clouds: int | None) -> Any:
    """Against the number of clouds at the first size, or against the size for one number of clouds."""
    from sfumato.bench.line_panels import LinePanel

    points: dict[str, list[tuple[float, float]]] = {}
    for group in measured if num_clouds else measured[:1]:
        for timed in group.timed:
            if timed.way and num_clouds in (None, timed.way.spec.num_clouds):
                x = group.size if num_clouds else timed.way.spec.num_clouds
                points.setdefault(timed.way.text, []).append((x, timed.outcome.seconds))
    where = f"n = {num_clouds}" if num_clouds else f"{measured[0].size} pixels"
    return LinePanel(
        heading=f"{request.measured_model}, {where}, loopback",
        x_label="pixels each way" if num_clouds else "clouds",
        y_label="measured, s",
        lines={text: sorted(found) for text, found in points.items()},
    )
