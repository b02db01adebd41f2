"""Six photographs inverted from the features of SqueezeNet 1.1 at three cuts, by four methods and three priors.

    python docs/results/photographs/photographs.py kodim03.png … --squeezenet squeezenet1_1.pt --out found

from the repository, after `training/photographs.py`. Runs one `sfumato invert` for each group of methods with settings
in common, prints it, and goes on where it was stopped; then writes `photographs.md`, `photographs.csv`, the loss curves
of each run and a panel a cut from their reports. Start it anew for other settings than those in RUNS.
"""

import argparse
import csv
import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sfumato.cli.inverted_pictures import read_pictures
from sfumato.experiments.panels import Panel, Picture, Words, draw
from sfumato.metrics.intervals import bootstrap_interval

ROOT = Path(__file__).parents[3]
LAYERS = ("features.4", "features.7", "features.12")
PAIRS = (
    ("decoder-photographs", "direct"),
    ("decoder-photographs", "decoder-portraits"),
    ("diffusion-portraits", "decoder-portraits"),
    ("network", "decoder-photographs"),
)
"""Names of runs that are compared."""
SIDE = 128
QUALITY = 88
METRICS = ("psnr", "ssim")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One command."""

    name: str
    knows: str
    """What the attacker's pictures are of: photographs, portraits, or no pictures."""
    methods: tuple[str, ...]
    settings: tuple[str, ...]


RUNS = (
    Run(
        name="direct",
        knows="no pictures",
        methods=("direct",),
        settings=("feature_norm=relative", "tv_weight=3", "learning_rate=0.05", "iterations=300"),
    ),
    Run(
        name="decoder-photographs",
        knows="photographs",
        methods=("decoder",),
        settings=("feature_norm=relative", "tv_weight=3", "iterations=150"),
    ),
    Run(
        name="decoder-portraits",
        knows="portraits",
        methods=("decoder",),
        settings=("feature_norm=relative", "tv_weight=3", "iterations=150"),
    ),
    Run(
        name="diffusion-portraits",
        knows="portraits",
        methods=("white-box",),
        settings=("feature_norm=relative", "tv_weight=3", "iterations=60", "sampling_steps=3"),
    ),
    Run(
        name="network",
        knows="photographs",
        methods=("black-box-direct",),
        settings=("questions=QUESTIONS", "queries=1024", "epochs=5", "training_batch=32"),
    ),
)


def command(run: Run, arguments: argparse.Namespace) -> list[str]:
    """The `sfumato invert` of a run."""
    model = "portraits" if run.knows == "portraits" else str(arguments.decoder)
    settings = [each.replace("QUESTIONS", str(arguments.questions)) for each in run.settings]
    words = [sys.executable, "-m", "sfumato", "invert", *map(str, arguments.pictures), "--height", str(SIDE)]
    words += ["--width", str(SIDE), "--target", f"{ROOT / 'examples/own_network.py'}:squeezenet"]
    words += ["--weights", str(arguments.squeezenet), "--model", model, "--out", str(arguments.out / run.name)]
    words += [word for layer in LAYERS for word in ("--layer", layer)]
    words += [word for method in run.methods for word in ("--method", method)]
    return words + [word for pair in settings for word in ("--set", pair)]


def finished(run: Run, out: Path) -> dict[str, Any] | None:
    """The report of a run that came to its end."""
    file = out / run.name / "report.json"
    report = json.loads(file.read_text()) if file.exists() else {"runs": []}
    done = len(report["runs"]) == len(LAYERS) * len(run.methods) and all(each["finished"] for each in report["runs"])
    return report if done else None


def row(run: Run, found: dict[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    columns: dict[str, Any] = {"cut": found["layer"], "method": found["method"], "knows": run.knows}
    for metric in METRICS:
        score = found["scores"][metric]
        columns[metric], columns[f"{metric}_prior_only"] = score["guess"], score["prior_only"]
        columns[f"{metric}_leakage"] = score["leakage"]
        columns[f"{metric}_low"], columns[f"{metric}_high"] = score["interval"]
    return columns | {"seconds": found["seconds"], "settings": " ".join(run.settings)}


def score(found: dict[str, Any], metric: str, places: int) -> str:
    """A guess's score with the prior's, and leakage with its interval, as two cells."""
    names = ("", "_prior_only", "_leakage", "_low", "_high")
    guess, prior, leakage, low, high = (f"{found[metric + name]:.{places}f}" for name in names)
    return f"{guess} ({prior}) | {leakage} [{low}, {high}]"


def table(rows: list[dict[str, Any]], num_pictures: int) -> str:
    """Markdown."""
    lines = [
        f"SqueezeNet 1.1, {num_pictures} photographs of {SIDE} x {SIDE} pixels. In brackets what the same attacker "
        "guesses without features; leakage is the difference, in square brackets where its mean lies in 95 of 100 such "
        "sets of photographs.",
        "",
        "| cut | method | knows | PSNR, dB | leakage, dB | SSIM | leakage | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in sorted(rows, key=lambda each: LAYERS.index(each["cut"])):
        scores = " | ".join(score(each, metric, places) for metric, places in zip(METRICS, (1, 2), strict=True))
        lines.append(f"| {each['cut']} | `{each['method']}` | {each['knows']} | {scores} | {each['seconds']:.0f} |")
    lines += ["", "| run | `--set` |", "|---|---|"]
    lines += [
        f"| {', '.join(run.methods)}, {run.knows} | {', '.join(f'`{s}`' for s in run.settings)} |" for run in RUNS
    ]
    return "\n".join(lines) + "\n"


def differences(reports: dict[Run, dict[str, Any]]) -> str:
    """Markdown: pairs of runs on the same photographs, whose difference says what a prior or a network is worth."""
    lines = [
        "The same photographs by two attackers: the mean of the differences, and where it lies in 95 of 100 such sets.",
        "",
        "| cut | first | second | PSNR, dB | SSIM |",
        "|---|---|---|---|---|",
    ]
    by_name = {run.name: (run, report) for run, report in reports.items()}
    for layer in LAYERS:
        for pair in PAIRS:
            runs = [by_name[name] for name in pair]
            found = [next(each for each in report["runs"] if each["layer"] == layer) for _, report in runs]
            named = [f"`{each['method']}`, {run.knows}" for each, (run, _) in zip(found, runs, strict=True)]
            cells = [
                difference(*(each["scores"][metric]["each_guess"] for each in found), places)
                for metric, places in zip(METRICS, (1, 2), strict=True)
            ]
            lines.append(f"| {layer} | {' | '.join([*named, *cells])} |")
    return "\n".join(lines) + "\n"


def difference(first: list[float], second: list[float], places: int) -> str:
    """The mean of paired differences with its interval."""
    apart = np.subtract(first, second)
    interval = bootstrap_interval(apart)
    return f"{apart.mean():+.{places}f} [{interval.low:.{places}f}, {interval.high:.{places}f}]"


def panel(layer: str, reports: dict[Run, dict[str, Any]], pictures: list[str], out: Path) -> bytes:
    """Each photograph and what every method made of its features, as JPEG."""
    originals, _ = read_pictures(pictures, (SIDE, SIDE))
    columns = ["", "original"]
    rows: list[list[Panel]] = [
        [Words(heading=Path(name).stem), Picture(pixels=pixels)]
        for name, pixels in zip(pictures, originals, strict=True)
    ]
    for run, report in reports.items():
        for found in (each for each in report["runs"] if each["layer"] == layer):
            columns.append(f"{found['method']}, {run.knows}")
            for place, cells in enumerate(rows):
                with Image.open(out / run.name / found["guesses"][place]) as guess:
                    pixels = np.asarray(guess)
                psnr, ssim = (found["scores"][metric]["each_guess"][place] for metric in METRICS)
                cells.append(Picture(pixels=pixels, below=f"{psnr:.1f} dB, SSIM {ssim:.2f}"))
    drawn = draw(f"Photographs from the features of SqueezeNet 1.1 after {layer}", columns, rows)
    stream = BytesIO()
    Image.open(BytesIO(drawn)).convert("RGB").save(stream, format="JPEG", quality=QUALITY)
    return stream.getvalue()


def main() -> None:
    """Runs what is not finished, and writes the rest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--squeezenet", type=Path, required=True, help="squeezenet1_1.pt")
    parser.add_argument("--questions", type=Path, default=ROOT / "training/runs/photographs")
    parser.add_argument("--decoder", type=Path, default=ROOT / "training/runs/photographs-decoder")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    reports: dict[Run, dict[str, Any]] = {}
    for run in RUNS:
        if finished(run, arguments.out) is None:
            print(shlex.join(words := command(run, arguments)), flush=True)
            subprocess.run(words, check=True)
        if (report := finished(run, arguments.out)) is None:
            raise SystemExit(f"{run.name} did not come to its end: run this again")
        reports[run] = report
    rows = [row(run, found) for run, report in reports.items() for found in report["runs"]]
    text = f"{table(rows, len(arguments.pictures))}\n{differences(reports)}"
    (arguments.out / "photographs.md").write_text(text)
    with (arguments.out / "photographs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for run in reports:
        shutil.copy(arguments.out / run.name / "losses.png", arguments.out / f"losses-{run.name}.png")
    for layer in LAYERS:
        drawn = panel(layer, reports, list(map(str, arguments.pictures)), arguments.out)
        (arguments.out / f"{layer.replace('.', '-')}.jpg").write_bytes(drawn)


if __name__ == "__main__":
    main()
