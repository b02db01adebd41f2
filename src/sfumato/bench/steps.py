"""Denoising steps of protocols over local cloud processes, beside local diffusers in the same run."""

import io
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sfumato.bench.one_run import LOCAL, Order, Outcome, merged, run
from sfumato.bench.ways import Way, bench_model, named_way
from sfumato.bench.written import Results
from sfumato.metrics.pictures import psnr

IDENTICAL = "identical"
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One way to denoise, and all its runs as one."""

    way: Way | None
    """None for local diffusers."""
    outcome: Outcome
    picture: NDArray[np.uint8] | None

    @property
    def name(self) -> str:
        """The way, with its number of clouds."""
        return LOCAL if self.way is None else self.way.name


@dataclass(frozen=True, kw_only=True)
class StepsRequest:
    """What the command line asked for."""

    model: str
    ways: Sequence[str]
    num_clouds: Sequence[int]
    steps: int
    repeats: int
    guidance_scale: float
    height: int | None
    width: int | None
    pictures: bool
    out: Path | None


def measure(
    request: StepsRequest, ways: Sequence[Way | None], progress: Callable[[str], None] = lambda _: None
) -> list[Timed]:
    """Runs every way ``repeats`` times, in turn, so that other load hits all alike."""
    model = bench_model(request.model)
    outcomes: list[list[Outcome]] = [[] for _ in ways]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{i}.png" for i in range(len(ways))]
        for _ in range(request.repeats):
            for way, file, found in zip(ways, files, outcomes, strict=True):
                progress(LOCAL if way is None else way.name)
                order = Order(
                    way=LOCAL if way is None else way.spec.name,
                    spec_json="" if way is None else way.spec.to_json(),
                    model=str(model.path),
                    steps=request.steps,
                    guidance_scale=request.guidance_scale,
                    height=request.height,
                    width=request.width,
                    picture=str(file) if request.pictures else None,
                )
                found.append(run(order))
        pictures = [np.asarray(Image.open(file)) if request.pictures else None for file in files]
    return [
        Timed(way=way, outcome=merged(found), picture=picture)
        for way, found, picture in zip(ways, outcomes, pictures, strict=True)
    ]


def bench_steps(request: StepsRequest) -> None:
    """Measures, prints and writes.

    Raises:
        ValueError: a way, a number of clouds or a number of steps that cannot be.
    """
    if request.steps < 2:
        raise ValueError(f"--steps must be at least 2, because the first step is not counted, got {request.steps}")
    ways = [None, *(named_way(text, n) for n, text in product(request.num_clouds, request.ways))]
    results = Results(folder=request.out, name="steps")
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=request.repeats * len(ways))
        found = measure(request, ways, lambda name: bar.update(task, description=name, advance=1))
    rows = [_row(request, timed, found[0]) for timed in found]
    results.give(rows, _seconds_table(request, found), _memory_table(found))
    if request.pictures and request.out is not None:
        _write_pictures(results, request, found)


def decibels(picture: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """PSNR of one picture."""
    return float(psnr(picture[None], reference[None])[0])


def decibels_text(value: float) -> str:
    """PSNR in words: identical pictures have no finite one."""
    return IDENTICAL if value == float("inf") else f"{value:.1f}"


def _row(request: StepsRequest, timed: Timed, baseline: Timed) -> dict[str, Any]:
    return {
        "bench": "steps",
        "model": request.model,
        **steps_row(timed, baseline),
        "inference_steps": request.steps,
        "repeats": request.repeats,
        "guidance_scale": request.guidance_scale,
        "height": request.height,
        "width": request.width,
    }


def steps_row(timed: Timed, baseline: Timed) -> dict[str, Any]:
    """What one way took, as plain JSON values."""
    outcome = timed.outcome
    out: dict[str, Any] = {
        **({"way": LOCAL, "spec": None, "clouds": 0} if timed.way is None else timed.way.to_dict()),
        "seconds_per_step": outcome.seconds,
        "ratio": outcome.seconds / baseline.outcome.seconds,
        "waiting_share": outcome.waiting_share,
        "codec_share": outcome.codec_share,
        "first": asdict(outcome.first),
        "steps": [asdict(step) for step in outcome.steps],
        "client_bytes": outcome.client_bytes,
        "cloud_bytes": outcome.cloud_bytes,
        "clouds_bytes": outcome.clouds_bytes,
    }
    if timed.picture is not None and baseline.picture is not None:
        value = decibels(timed.picture, baseline.picture)
        out["psnr_db"] = None if value == float("inf") else value
    return out


def _seconds_table(request: StepsRequest, found: Sequence[Timed]) -> Table:
    counted = f"{request.repeats * (request.steps - 1)} steps after the first"
    table = Table(title=f"One denoising step on {request.model}, seconds: median of {counted}", title_justify="left")
    table.add_column("way", no_wrap=True)
    headings = ["a step", "least to most", "ratio", "first step", "rounds", "up, MB", "down, MB", "waiting", "codec"]
    for heading in headings + ["picture, dB"] * request.pictures:
        table.add_column(heading, justify="right")
    base = found[0]
    for timed in found:
        outcome = timed.outcome
        seconds = [step.seconds for step in outcome.steps]
        cells = [f"{outcome.seconds:.3f}", f"{min(seconds):.3f} to {max(seconds):.3f}"]
        cells += [f"{outcome.seconds / base.outcome.seconds:.2f}", f"{outcome.first.seconds:.2f}"]
        if timed.way is not None:
            cells += [f"{outcome.mean('rounds'):.0f}", f"{outcome.mean('sent_bytes') / 1e6:.2f}"]
            cells += [f"{outcome.mean('received_bytes') / 1e6:.2f}", f"{outcome.waiting_share:.0%}"]
            cells += [f"{outcome.codec_share:.0%}"]
            if timed.picture is not None and base.picture is not None:
                cells += [decibels_text(decibels(timed.picture, base.picture))]
        table.add_row(timed.name, *cells)
    return table


def _memory_table(found: Sequence[Timed]) -> Table:
    table = Table(title="Peak memory, MiB", title_justify="left")
    for heading in ("way", "client", "ratio", "largest cloud (PSS)", "ratio", "all clouds (PSS)", "ratio"):
        table.add_column(heading, justify="left" if heading == "way" else "right", no_wrap=heading == "way")
    base = found[0].outcome.client_bytes
    for timed in found:
        sizes = [timed.outcome.client_bytes]
        if timed.way is not None:
            sizes += [timed.outcome.cloud_bytes, timed.outcome.clouds_bytes]
        table.add_row(timed.name, *(cell for size in sizes for cell in (f"{size / _MIB:.0f}", f"{size / base:.2f}")))
    return table


def _write_pictures(results: Results, request: StepsRequest, found: Sequence[Timed]) -> None:
    """Every picture, and all side by side with their differences below."""
    from sfumato.experiments.panels import Difference, Panel, Picture, Words, draw

    shown = [(timed.name, timed.picture) for timed in found if timed.picture is not None]
    _, reference = shown[0]
    below: list[Panel] = [Words(heading=f"{request.steps} steps", text=Order.prompt)]
    for name, picture in shown:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, format="PNG")
        results.write(f"picture-{file_stem(name)}.png", stream.getvalue())
    for _, picture in shown[1:]:
        text = decibels_text(decibels(picture, reference))
        below.append(Difference(pixels=picture, reference=reference, below=text if text == IDENTICAL else f"{text} dB"))
    title = f"The same prompt and seed on {request.model}"
    above: list[Panel] = [Picture(pixels=picture) for _, picture in shown]
    results.write("pictures.png", draw(title, [name for name, _ in shown], [above, below]))


def file_stem(name: str) -> str:
    """A way's name as part of a file's: ``strip-split wire=int8, n = 2`` as ``strip-split-wire-int8-n-2``."""
    return "-".join(re.findall(r"[A-Za-z0-9_]+", name))
