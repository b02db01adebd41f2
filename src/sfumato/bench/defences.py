"""``sfumato bench defences``: what defences of a cut cost a target, beside what they take from an attacker."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from sfumato.attacks.inversion.defended import operator_of
from sfumato.attacks.targets import load_target
from sfumato.attacks.targets.painted_task import painted_pictures
from sfumato.bench.defended_cell import UNDEFENDED, DefendedCell, Study, named_attack, named_defence, read_cells
from sfumato.bench.written import Results
from sfumato.errors import Unsupported
from sfumato.models.folder import find_model

NAME = "defences"
DEFAULT_DEFENCES = (
    *(f"gaussian-noise noise_multiplier={value}" for value in (0.003, 0.01, 0.03, 0.1)),
    *(f"quantise bits={value}" for value in (1, 2)),
    *(f"drop-channels keep={value}" for value in (0.75, 0.5)),
    "drop-channels keep=0.75 choice=seed",
)
DEFAULT_ATTACKS = tuple(f"direct iterations=60 feature_norm=sum tv_weight={weight}" for weight in ("1e5", "1e6", "1e7"))
_SECRET_SEED = 771_003


@dataclass(frozen=True, kw_only=True)
class DefencesRequest:
    """What the command line asked for."""

    target: str
    layers: Sequence[str]
    defences: Sequence[str]
    attacks: Sequence[str]
    pictures: int
    task_pictures: int
    model: str
    threads: int
    seed: int
    out: Path | None


def bench_defences(request: DefencesRequest) -> None:
    """Measures every defence at every cut, beside none, and prints a row each; finished rows of a folder are kept.

    Raises:
        ValueError: wrong usage, found before anything is computed.
        Unsupported: the target does not read the painter's attributes, or a library is not installed.
    """
    results, console = Results(folder=request.out, name=NAME), Console(stderr=True)
    defences = [named_defence(text) for text in dict.fromkeys([UNDEFENDED, *request.defences])]
    attacks = [named_attack(text) for text in dict.fromkeys(request.attacks)]
    for each in defences[1:]:
        each.made.guarantee()
    torch.set_num_threads(request.threads)
    target = load_target(request.target)
    size = target.picture_size
    cuts = {layer: target.cut(layer, size) for layer in map(_layer_name, dict.fromkeys(request.layers))}
    study = Study(
        operator=operator_of(target, size, request.task_pictures),
        model=find_model(request.model),
        secrets=painted_pictures(request.pictures, _SECRET_SEED, size).pictures,
        attacks=attacks,
        seed=request.seed,
    )
    earlier, rows = _earlier(request.out), []
    for layer, cut in cuts.items():
        if (undefended := study.operator.accuracy(cut)) is None:
            raise Unsupported(
                f"target {target.name} does not read the painter's attributes, so accuracy cannot be measured: "
                "take a portraits target, or one fine-tuned from it"
            )
        for defence in defences:
            row = study.kept(earlier, layer, defence) or study.cell(layer, cut, undefended, defence)
            rows.append(row)
            results.write(f"{NAME}.jsonl", "".join(json.dumps(asdict(each)) + "\n" for each in rows).encode())
            console.print(f"{layer} {row.defence}: {row.task_accuracy:.3f}, {row.psnr:.2f} dB", highlight=False)
    results.give([asdict(row) for row in rows], _table(rows))
    if request.out is not None:
        from sfumato.bench.defence_plot import draw_defences

        results.write(f"{NAME}.png", draw_defences(rows))


def _earlier(out: Path | None) -> list[DefendedCell]:
    """What a run that was stopped left in the folder."""
    file = None if out is None else out / f"{NAME}.jsonl"
    return [] if file is None or not file.exists() else read_cells(file.read_text())


def _layer_name(given: str) -> str:
    return f"L{given}" if given.isdecimal() else given


def _table(rows: Sequence[DefendedCell]) -> Table:
    first = rows[0]
    table = Table(
        title=f"{first.target}: attributes read rightly of {first.task_pictures} portraits, and the nearest attack on "
        f"{first.pictures}; the prior alone has {first.prior_psnr:.1f} dB, SSIM {first.prior_ssim:.2f}",
        title_justify="left",
    )
    table.add_column("cut")
    table.add_column("defence")
    for heading in ("epsilon", "accuracy, %", "PSNR, dB", "above the prior, dB", "SSIM"):
        table.add_column(heading, justify="right")
    table.add_column("attack")
    for row in rows:
        table.add_row(
            row.layer,
            row.defence,
            epsilon_text(row),
            f"{100 * row.task_accuracy:.1f}",
            f"{row.psnr:.1f}",
            leakage_text(row),
            f"{row.ssim:.2f}",
            row.attack,
        )
    return table


def epsilon_text(row: DefendedCell) -> str:
    """As a table shows it; a dash where nothing is proven."""
    if row.delta is None:
        return "-"
    return "> 500" if row.epsilon is None else f"{row.epsilon:.0f}"


def leakage_text(row: DefendedCell) -> str:
    """PSNR above the prior's, with its interval."""
    if row.leakage_interval is None:
        return f"{row.psnr - row.prior_psnr:.1f}"
    low, high = row.leakage_interval
    return f"{row.psnr - row.prior_psnr:.1f} [{low:.1f}, {high:.1f}]"
