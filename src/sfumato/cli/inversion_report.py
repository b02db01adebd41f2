"""What ``sfumato invert`` writes and prints: pictures, panel, curves, report.json and a table."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.table import Table

from sfumato.attacks.inversion.harness import Inverted
from sfumato.attacks.inversion.scoring import Score
from sfumato.cli.inversion_drawing import loss_curves, panel
from sfumato.cli.wide import print_wide
from sfumato.files import write_whole
from sfumato.models.folder import ModelFolder
from sfumato.version import VERSION

if TYPE_CHECKING:
    from sfumato.cli.defending import Defending
    from sfumato.cli.invert_request import InvertRequest

_MIB = 1 << 20


def write_results(
    request: "InvertRequest",
    model: ModelFolder,
    originals: NDArray[np.uint8],
    found: Sequence[Inverted],
    before: "Defending | None" = None,
) -> None:
    """Writes the last run's guesses, and panel, curves and report of all so far."""
    last, names = found[-1], [Path(name).name for name in request.images]
    for place, picture in enumerate(last.pictures, start=1):
        _write(request.out / guess_name(last, place), _png(picture))
    _write(request.out / "panel.png", panel(originals, names, found))
    _write(request.out / "losses.png", loss_curves(found, names))
    report = {
        "sfumato": VERSION,
        "model": {"name": model.name, "fingerprint": model.fingerprint},
        "target": found[0].cut.target,
        "weights": None if request.weights is None else str(request.weights),
        "pictures": list(request.images),
        "picture_size": list(originals.shape[1:3]),
        "frames": request.num_frames,
        "priors": list(request.priors),
        "draws": request.num_draws,
        "defence": None if before is None else before.report(),
        "runs": [run_report(each) for each in found],
    }
    _write(request.out / "report.json", (json.dumps(report, indent=2) + "\n").encode())


def guess_name(found: Inverted, place: int) -> str:
    """The file of a guess, its picture counted from 1."""
    return f"{found.cut.layer}-{found.method.name}-{place}.png"


def run_report(found: Inverted) -> dict[str, Any]:
    """One run as plain JSON values; numbers that are not finite are null."""
    guess = found.guess
    return {
        "layer": found.cut.layer,
        "method": found.method.name,
        "settings": asdict(found.method),
        "finished": guess.finished,
        "iterations": None if guess.losses is None else len(guess.losses),
        "best_losses": None if guess.losses is None else _numbers(np.nanmin(guess.losses.numpy(), axis=0)),
        "chosen_priors": None if guess.texts is None else list(guess.texts),
        "seconds": guess.seconds,
        "peak_bytes": guess.peak_bytes,
        "guesses": [guess_name(found, place + 1) for place in range(len(found.pictures))],
        "scores": {score.metric: _score(score) for score in found.scores},
        "set_scores": {
            score.metric: {"guess": score.guess, "prior_only": score.prior_only} for score in found.set_scores
        },
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "guess": _number(score.guess.mean()),
        "prior_only": _number(score.prior_only.mean()),
        "leakage": _number(score.leakage.mean()),
        "interval": None if score.interval is None else _numbers(score.interval),
        "each_guess": _numbers(score.guess),
        "each_prior_only": _numbers(score.prior_only),
    }


def print_scores(found: Sequence[Inverted], out: Path, before: "Defending | None" = None) -> None:
    """A row a run: scores, in brackets those of the prior alone, and what the features added."""
    table = Table(title=f"Pictures from the features of {found[0].cut.target}; in brackets the prior alone")
    for heading in ("layer", "method"):
        table.add_column(heading)
    metrics = {score.metric: None for score in found[0].scores}
    for heading in (*(_TITLES.get(name, name) for name in metrics), "leakage, dB", "seconds", "peak, MiB"):
        table.add_column(heading, justify="right")
    for each in found:
        cells = [f"{score.guess.mean():.3g} ({score.prior_only.mean():.3g})" for score in each.scores]
        psnr = next(score for score in each.scores if score.metric == "psnr")
        sizes = [_leakage(psnr), f"{each.guess.seconds:.0f}", f"{each.guess.peak_bytes / _MIB:.0f}"]
        table.add_row(each.cut.layer, each.method.name, *cells, *sizes)
    told = [] if before is None else before.lines()
    print_wide([table, *told, f"written: {out / 'panel.png'}, losses.png, report.json and a PNG for each guess"])


_TITLES = {"psnr": "PSNR, dB", "mean_absolute_psnr": "Eq. 14, dB", "ssim": "SSIM", "attributes": "attributes"}


def _leakage(score: Score) -> str:
    ends = "" if score.interval is None else f" [{score.interval.low:.1f}, {score.interval.high:.1f}]"
    return f"{score.leakage.mean():.1f}{ends}"


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _numbers(values: Any) -> list[float | None]:
    return [_number(value) for value in values]


def _png(picture: NDArray[np.uint8]) -> bytes:
    stream = BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()


def _write(path: Path, content: bytes) -> None:
    def put(stream: IO[bytes]) -> None:
        stream.write(content)

    write_whole(path, put)
