"""``sfumato bench homomorphic``, second part: quality, cost and leak against mode=paper's threshold, on whole runs."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from rich.table import Table

from sfumato.attacks.homomorphic.base import PaperAttack
from sfumato.attacks.homomorphic.predictions import Predictions
from sfumato.attacks.homomorphic.remainder import Remainder
from sfumato.attacks.view import RunView
from sfumato.bench.fidelity import PROMPTS
from sfumato.bench.line_panels import LinePanel, draw_lines
from sfumato.client.wrapped_clouds import RecordedClouds
from sfumato.errors import LacksInput
from sfumato.experiments.panels import Picture, draw
from sfumato.metrics.agreement import correlation
from sfumato.metrics.pictures import psnr
from sfumato.models.decoding import decode, to_uint8
from sfumato.models.folder import ModelFolder, find_model
from sfumato.models.loading import load_decoder
from sfumato.protocols.base import Spec
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.plain.spec import Plain
from sfumato.simulation import InProcessClouds, simulate
from sfumato.tensors import Latent
from sfumato.transport.recording import Recording
from sfumato.worker.sessions import ServedModel, serve_model

MODEL = "portraits"
THRESHOLDS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 0.9)
SEED = 7
EXACT: Final = "one-level"
RELEASED: Final = "he-diffusion"
ALONE = "predictions alone"
BOTH = "predictions and entries"
ENTRIES = "entries alone"
ATTACKS: dict[str, PaperAttack] = {
    ALONE: Predictions(use_remainder=False),
    BOTH: Predictions(),
    ENTRIES: Remainder(),
}
PRIOR = "no transcript"


@dataclass(frozen=True, kw_only=True)
class FractionRow:
    """One run, of all prompts at once."""

    mode: str
    parameters: str
    selection: str
    threshold: float
    encrypted_fraction: float
    """Mean of the steps."""
    ciphertexts: float
    """A step."""
    sent_bytes: float
    """A step."""
    decibels: list[float]
    """Of each picture against ``plain``'s; infinite where all bytes agree."""
    leaks: dict[str, list[float]]
    """Attack to the correlation of its estimate with the entries that were encrypted in the last step, a picture each;
    empty where the transcript holds nothing for it."""
    guessed_decibels: dict[str, float]
    """Attack to the mean PSNR of its pictures against the client's own."""


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """What attacks made of one run, as pictures."""

    row: FractionRow
    own: NDArray[np.uint8]
    """The client's."""
    by_attack: dict[str, NDArray[np.uint8]]


def measure_fractions(steps: int, progress: Progress) -> list[Guesses]:
    """Runs mode=paper at every threshold, random entries beside some, and sealed mode; attacks each transcript."""
    specs = [
        *(Homomorphic(mode="paper", threshold=t, parameters=p) for p in (EXACT, RELEASED) for t in THRESHOLDS),
        *(Homomorphic(mode="paper", threshold=t, parameters=EXACT, selection="random") for t in (0.1, 0.5)),
        Homomorphic(),
    ]
    task = progress.add_task("runs and attacks", total=len(specs))
    model = find_model(MODEL)
    served = serve_model(model)
    plain = _pictures(_run(model, served, Plain(), steps, None)[0])
    rows = []
    for spec in specs:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_measured(model, served, spec, steps, plain, Path(folder) / "run"))
        progress.advance(task)
    return rows


def _run(
    model: ModelFolder, served: ServedModel, spec: Spec, steps: int, folder: Path | None
) -> tuple[Latent, dict[str, Any]]:
    inside = InProcessClouds(served, spec.num_clouds)
    pipe = simulate(model, spec, clouds=RecordedClouds(inside, folder) if folder else inside)
    output = pipe(list(PROMPTS), num_inference_steps=steps, seed=SEED, output_type="latent")
    return output.images, output.report.to_dict()


@lru_cache
def _decoder() -> torch.nn.Module:
    return load_decoder(find_model(MODEL))


@torch.no_grad()
def _pictures(latents: Latent) -> NDArray[np.uint8]:
    return to_uint8(decode(_decoder(), latents))


def _measured(
    model: ModelFolder, served: ServedModel, spec: Homomorphic, steps: int, plain: NDArray[np.uint8], folder: Path
) -> Guesses:
    latents, report = _run(model, served, spec, steps, folder)
    own = _pictures(latents)
    view = RunView.of(Recording.read(folder), model)
    leaks: dict[str, list[float]] = {}
    pictures: dict[str, NDArray[np.uint8]] = {}
    for name, attack in ATTACKS.items():
        try:
            guess, prior = attack.run(view), attack.prior(view)
        except LacksInput:
            continue
        leaks[name] = _hidden_correlations(guess.latents, latents, guess.was_hidden)
        leaks[PRIOR] = _hidden_correlations(prior.latents, latents, guess.was_hidden)
        pictures[name] = _pictures(guess.latents)
        pictures[PRIOR] = _pictures(prior.latents)
    encryption = report["encryption"]
    row = FractionRow(
        mode=spec.mode,
        parameters=spec.ckks.name,
        selection=spec.selection if spec.mode == "paper" else "all",
        threshold=spec.threshold if spec.mode == "paper" else 0.0,
        encrypted_fraction=1 - encryption["fraction_public"],
        ciphertexts=encryption["ciphertexts"] / (steps + (spec.mode == "sealed")),
        sent_bytes=report["totals"]["sent_bytes"] / steps,
        decibels=psnr(own, plain).tolist(),
        leaks=leaks,
        guessed_decibels={name: _mean_decibels(made, own) for name, made in pictures.items()},
    )
    return Guesses(row=row, own=own, by_attack=pictures)


def _hidden_correlations(guess: Latent, truth: Latent, was_hidden: torch.Tensor) -> list[float]:
    return [correlation(g[h], t[h]) or 0.0 for g, t, h in zip(guess, truth, was_hidden, strict=True)]


def _mean_decibels(guess: NDArray[np.uint8], own: NDArray[np.uint8]) -> float:
    return float(np.minimum(psnr(guess, own), 99).mean())


def fraction_rows(rows: Sequence[FractionRow], steps: int) -> list[dict[str, Any]]:
    """As JSON values; an infinite PSNR is null."""
    return [
        {"bench": "homomorphic", "part": "threshold", "model": MODEL, "steps": steps, "prompts": len(PROMPTS)}
        | asdict(row)
        | {"decibels": [None if np.isinf(d) else d for d in row.decibels]}
        for row in rows
    ]


def fraction_table(rows: Sequence[FractionRow], steps: int) -> Table:
    """A row a run."""
    title = (
        f"{MODEL}, {len(PROMPTS)} pictures in one run, {steps} steps. Leak: correlation with the encrypted entries of "
        "the last step, means,\nof estimates from predictions alone, from both, from entries alone, and without a "
        "transcript"
    )
    table = Table(title=title, title_justify="left")
    for heading in ("mode", "parameters", "entries"):
        table.add_column(heading, no_wrap=True)
    headings = ("threshold", "encrypted", "ciphertexts a step", "up a step, KiB", "least dB to plain")
    leaks = ("leak: predictions", "leak: both", "leak: entries", "leak: none")
    for heading in (*headings, *leaks, "guess of both, dB", "of none, dB"):
        table.add_column(heading, justify="right", overflow="fold", min_width=max(map(len, heading.split())))
    for row in rows:
        table.add_row(
            row.mode,
            row.parameters,
            row.selection,
            f"{row.threshold:g}" if row.mode == "paper" else "",
            f"{100 * row.encrypted_fraction:.0f} %",
            f"{row.ciphertexts:.1f}",
            f"{row.sent_bytes / 1024:.0f}",
            "equal" if np.isinf(min(row.decibels)) else f"{min(row.decibels):.1f}",
            *(
                f"{mean(row.leaks[name]):.3f}" if name in row.leaks else "no input"
                for name in (ALONE, BOTH, ENTRIES, PRIOR)
            ),
            *(f"{row.guessed_decibels[n]:.1f}" if n in row.guessed_decibels else "" for n in (BOTH, PRIOR)),
        )
    return table


def guess_panel(made: Sequence[Guesses]) -> bytes:
    """True pictures beside guesses at some thresholds, as PNG."""
    by_threshold = {
        m.row.threshold: m
        for m in made
        if (m.row.mode, m.row.selection, m.row.parameters) == ("paper", "min-distortion", EXACT)
    }
    shown = [(0.0, ALONE), (0.01, BOTH), (0.01, ENTRIES), (0.1, ENTRIES), (0.5, ENTRIES), (0.01, PRIOR)]
    shown = [(t, name) for t, name in shown if t in by_threshold]
    columns = ["true", *(f"{name}, {t:g}" if name != PRIOR else name for t, name in shown)]
    own = made[0].own
    rows = [
        [Picture(pixels=own[i]), *(Picture(pixels=by_threshold[t].by_attack[name][i]) for t, name in shown)]
        for i in range(len(own))
    ]
    return draw("What attacks make of mode=paper, by what they read and threshold (0: all encrypted)", columns, rows)


def fraction_plot(rows: Sequence[FractionRow]) -> bytes:
    """Quality, cost and leak against threshold, as PNG."""
    chosen = [row for row in rows if row.mode == "paper" and row.selection == "min-distortion"]
    shown = [row for row in chosen if row.parameters == EXACT]
    names = [f"{row.threshold:g}" for row in shown]

    def line(values: Sequence[float | None]) -> list[tuple[float, float]]:
        return [(float(i), value) for i, value in enumerate(values) if value is not None]

    leaks = {
        name: line([mean(row.leaks[name]) if name in row.leaks else None for row in shown])
        for name in (*ATTACKS, PRIOR)
    }
    whole = shown[0].ciphertexts
    panels = [
        LinePanel(
            heading="Quality: least PSNR to plain",
            x_label="threshold",
            y_label="dB",
            lines={
                f"parameters {name}": line([min(row.decibels) for row in chosen if row.parameters == name])
                for name in (EXACT, RELEASED)
            },
            x_names=names,
        ),
        LinePanel(
            heading="Cost, as a part of encrypting all",
            x_label="threshold",
            y_label="part",
            lines={
                "ciphertexts": line([row.ciphertexts / whole for row in shown]),
                "entries encrypted": line([row.encrypted_fraction for row in shown]),
            },
            x_names=names,
        ),
        LinePanel(
            heading="Leak: correlation with encrypted entries",
            x_label="threshold",
            y_label="correlation",
            lines=leaks,
            x_names=names,
        ),
    ]
    return draw_lines("Encrypting a part of each latent (mode=paper)", [panels])
