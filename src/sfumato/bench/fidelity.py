"""Is the split picture the unsplit one? PSNR of final 8-bit pictures, and of a single call of the U-Net."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import nn

from sfumato.bench.engine import Bench
from sfumato.bench.ways import Way, bench_model, named_way
from sfumato.bench.written import Results
from sfumato.metrics.pictures import psnr
from sfumato.models.decoding import decode, to_uint8
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_decoder
from sfumato.protocols.base import Spec
from sfumato.protocols.plain.spec import Plain
from sfumato.simulation import InProcessClouds, simulate
from sfumato.worker.sessions import ServedModel, serve_model

PROMPTS = (
    "a young woman with red hair and glasses, blue background",
    "an old man with a grey beard and a hat, at the sea",
    "a smiling middle-aged Indian woman with long black hair, in front of a forest",
    "a sad young man in a green shirt, city background",
)
DEFAULT_WAYS = ("layer-split merge=exact", "layer-split merge=paper")
_FIRST_SEED = 7
_SHOWN_PROMPTS = 4


class Picture(NamedTuple):
    """One result of one run."""

    pixels: NDArray[np.uint8]
    latent: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """One row: how one way's pictures compare with ``plain``'s."""

    way: Way
    decibels: list[float]
    """One a prompt and seed, prompts first; infinite where all bytes agree."""
    max_latent_error: float
    pictures: Sequence[Picture]


@dataclass(frozen=True, kw_only=True)
class OnePass:
    """One row: how one call of the U-Net compares with the unsplit one."""

    way: Way
    decibels: float
    """Peak: the range of the unsplit prediction."""
    max_error: float
    """Of the largest value of the unsplit prediction."""


@dataclass(frozen=True, kw_only=True)
class FidelityRequest:
    """What the command line asked for."""

    model: str
    ways: Sequence[str]
    num_clouds: Sequence[int]
    steps: int
    guidance_scale: float
    seeds: int
    one_pass: bool
    scheduler: str
    out: Path | None


def measure(
    request: FidelityRequest, ways: Sequence[Way], progress: Callable[[str], None]
) -> tuple[Sequence[Picture], list[Fidelity]]:
    """Compares final pictures over a few prompts and seeds, all parties in one process.

    Returns:
        The unsplit pictures, and a row a way.
    """
    model = bench_model(request.model)
    served, decoder = serve_model(model), load_decoder(model)
    cases = list(product(PROMPTS, range(_FIRST_SEED, _FIRST_SEED + request.seeds)))

    def pictures(spec: Spec) -> list[Picture]:
        return [_picture(request, model, spec, served, decoder, prompt, seed) for prompt, seed in cases]

    progress("plain")
    reference = pictures(Plain())
    rows = []
    for way in ways:
        progress(way.name)
        found = pictures(way.spec)
        pixels = np.stack([a.pixels for a in found]), np.stack([b.pixels for b in reference])
        rows.append(
            Fidelity(
                way=way,
                decibels=psnr(*pixels).tolist(),
                max_latent_error=max(
                    float(np.abs(a.latent - b.latent).max()) for a, b in zip(found, reference, strict=True)
                ),
                pictures=found,
            )
        )
    return reference, rows


def _picture(
    request: FidelityRequest,
    model: ModelFolder,
    spec: Spec,
    served: ServedModel,
    decoder: nn.Module,
    prompt: str,
    seed: int,
) -> Picture:
    pipe = simulate(model, spec, scheduler=request.scheduler, clouds=InProcessClouds(served, spec.num_clouds))
    latent = pipe(
        prompt,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        seed=seed,
        output_type="latent",
    ).images
    return Picture(to_uint8(decode(decoder, latent))[0], latent.numpy())


@torch.no_grad()
def measure_one_pass(request: FidelityRequest, ways: Sequence[Way], progress: Callable[[str], None]) -> list[OnePass]:
    """Compares one call of the U-Net, both guidance halves, on one noise and one prompt."""
    bench = Bench(bench_model(request.model), None, None)
    progress("unsplit")
    reference = bench.unsplit().double()
    rows = []
    for way in ways:
        progress(way.name)
        with bench.split(way) as (step, _):
            error = step().double() - reference
        peak = float(reference.max() - reference.min())
        found = 10 * np.log10(peak**2 / float(error.square().mean()))
        rows.append(OnePass(way=way, decibels=float(found), max_error=float(error.abs().max() / reference.abs().max())))
    return rows


def bench_fidelity(request: FidelityRequest) -> None:
    """Measures, prints and writes.

    Raises:
        ValueError: a way or a number of clouds that cannot be.
    """
    ways = [named_way(text, n) for n, text in product(request.num_clouds, request.ways)]
    results = Results(folder=request.out, name="one-pass" if request.one_pass else "fidelity")
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("loading", total=1 + len(ways))

        def progress(name: str) -> None:
            bar.update(task, description=name, advance=1)

        if request.one_pass:
            passes = measure_one_pass(request, ways, progress)
        else:
            reference, rows = measure(request, ways, progress)
    if request.one_pass:
        results.give([_pass_row(request, row) for row in passes], _pass_table(request, passes))
        return
    results.give([_row(request, row) for row in rows], _table(request, rows))
    if request.out is not None:
        _write_pictures(results, request, reference, rows)


def _row(request: FidelityRequest, row: Fidelity) -> dict[str, Any]:
    return {
        "bench": "fidelity",
        "model": request.model,
        **row.way.to_dict(),
        "inference_steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "prompts": list(PROMPTS),
        "seeds": list(range(_FIRST_SEED, _FIRST_SEED + request.seeds)),
        "scheduler": request.scheduler,
        "psnr_db": [None if d == float("inf") else d for d in row.decibels],
        "max_latent_error": row.max_latent_error,
    }


def _pass_row(request: FidelityRequest, row: OnePass) -> dict[str, Any]:
    found = {"psnr_db": row.decibels, "max_error": row.max_error}
    return {"bench": "one-pass", "model": request.model, **row.way.to_dict(), **found}


def _table(request: FidelityRequest, rows: Sequence[Fidelity]) -> Table:
    title = (
        f"Final pictures against plain's on {request.model}: {request.steps} {request.scheduler} steps, guidance "
        f"{request.guidance_scale}, {len(PROMPTS)} prompts, seeds from {_FIRST_SEED} on: {request.seeds}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("way", no_wrap=True)
    for heading in ("least dB", "mean dB", "identical", "largest latent error"):
        table.add_column(heading, justify="right")
    for row in rows:
        finite = [d for d in row.decibels if d != float("inf")]
        table.add_row(
            row.way.name,
            f"{min(finite):.1f}" if finite else "inf",
            f"{mean(finite):.1f}" if finite else "inf",
            f"{len(row.decibels) - len(finite)} of {len(row.decibels)}",
            f"{row.max_latent_error:.2e}",
        )
    return table


def _pass_table(request: FidelityRequest, rows: Sequence[OnePass]) -> Table:
    title = f"One call of the U-Net of {request.model}, both guidance halves, against the unsplit one"
    table = Table(title=title, title_justify="left", caption="peak: the range of the unsplit prediction")
    table.add_column("way", no_wrap=True)
    table.add_column("dB", justify="right")
    table.add_column("largest error, of the largest value", justify="right")
    for row in rows:
        table.add_row(row.way.name, f"{row.decibels:.1f}", f"{row.max_error:.2e}")
    return table


def _write_pictures(
    results: Results, request: FidelityRequest, reference: Sequence[Picture], rows: Sequence[Fidelity]
) -> None:
    """The first seed of every prompt, with the differences below."""
    from sfumato.bench.steps import decibels_text
    from sfumato.experiments import panels

    lines: list[list[panels.Panel]] = []
    for place, prompt in enumerate(PROMPTS[:_SHOWN_PROMPTS]):
        at = place * request.seeds
        unsplit = reference[at].pixels
        pictures = [row.pictures[at].pixels for row in rows]
        lines.append([panels.Picture(pixels=p) for p in (unsplit, *pictures)])
        differences: list[panels.Panel] = [panels.Words(text=prompt)]
        for row, picture in zip(rows, pictures, strict=True):
            below = decibels_text(row.decibels[at])
            differences.append(panels.Difference(pixels=picture, reference=unsplit, below=below))
        lines.append(differences)
    title = f"{request.model}, {request.steps} steps, seed {_FIRST_SEED}; PSNR in dB"
    results.write("fidelity.png", panels.draw(title, ["unsplit", *(row.way.name for row in rows)], lines))
