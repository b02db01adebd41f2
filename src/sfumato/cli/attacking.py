"""The run behind ``sfumato attack``: the attack on what was recorded, and then the judging."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sfumato.cli.attack_judging import HEADINGS, Judged, judge_guess, truth_of
from sfumato.cli.attack_views import ViewRequest, views_of
from sfumato.files import check_writable, write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from sfumato.attacks.base import Attack
    from sfumato.attacks.guesses import Guess
    from sfumato.attacks.view import RunView


@dataclass(frozen=True, kw_only=True)
class AttackRequest:
    """What the command line asked for."""

    name: str
    settings: list[str]
    model: str
    seen: ViewRequest
    secrets: Path | None
    truth: Path | None
    out: Path | None
    as_json: bool


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What came of an attack, as far as it is shown."""

    attack: "Attack"
    view: "RunView"
    guess: "Guess"
    judged: Judged
    """By metric: with the recording, and without it."""


def print_attacks() -> None:
    """Names every attack, what it needs, and its settings."""
    from rich.table import Table

    from sfumato.attacks.catalog import ATTACKS
    from sfumato.cli.wide import print_wide
    from sfumato.protocols.settings import settings_of

    table = Table(title="attacks on recorded runs", title_justify="left", show_lines=True)
    for heading in ("attack", "needs", "--set FIELD=VALUE"):
        table.add_column(heading, overflow="fold")
    for name, kind in ATTACKS.items():
        settings = "\n".join(f"{s.name} ({s.values}; default {s.default}): {s.help}" for s in settings_of(kind))
        table.add_row(name, kind.needs, settings)
    print_wide([table])


def run_attack(request: AttackRequest) -> None:
    """Attacks, judges, prints and writes.

    Raises:
        ValueError: wrong usage.
        SfumatoError: the recording cannot be read, is of another model, or lacks what the attack works on.
    """
    _check_files(request)
    from sfumato.attacks.catalog import find_attack
    from sfumato.audit.judging import pictures_of
    from sfumato.models.folder import find_model
    from sfumato.protocols.settings import parse_values

    kind = find_attack(request.name)
    attack = kind(**parse_values(request.name, kind, request.settings, {}))
    model = find_model(request.model)
    view, guess = _first_that_works(attack, views_of(request.seen, model))
    judged: Judged = {}
    if request.secrets or request.truth:
        judged = judge_guess(guess, attack.prior(view), truth_of(request.secrets, request.truth, model))
    pictures = pictures_of(guess, model)
    written = [] if request.out is None or pictures is None else _write(request.out, pictures)
    found = _Found(attack=attack, view=view, guess=guess, judged=judged)
    if request.as_json:
        print(json.dumps(_as_json(found), indent=2))
    else:
        _print(found, written)


def _first_that_works(attack: "Attack", views: "list[RunView]") -> "tuple[RunView, Guess]":
    """Of a run whose clouds follow different protocols, the first that shows what the attack works on."""
    from sfumato.errors import LacksInput

    for view in views[:-1]:
        with suppress(LacksInput):
            return view, attack.run(view)
    return views[-1], attack.run(views[-1])


def _check_files(request: AttackRequest) -> None:
    if request.out is not None:
        if request.out.suffix.lower() != ".png":
            raise ValueError(f"--out must name a .png file, got {request.out}")
        check_writable(request.out)
    if request.truth is not None and not request.truth.is_file():
        raise ValueError(f"--truth {request.truth} is no file: name the picture that the run made")


def _write(out: Path, pictures: "NDArray[np.uint8]") -> list[Path]:
    from PIL import Image

    paths = [out]
    if len(pictures) > 1:
        paths = [out.with_name(f"{out.stem}-{i}{out.suffix}") for i in range(1, len(pictures) + 1)]
    for path, picture in zip(paths, pictures, strict=True):

        def save(stream: IO[bytes], picture: Any = picture) -> None:
            Image.fromarray(picture).save(stream, format="PNG")

        write_whole(path, save)
    return paths


def _as_json(found: _Found) -> dict[str, Any]:
    from sfumato.cli.attack_guesses import content_of
    from sfumato.version import VERSION

    view, content = found.view, content_of(found.guess, found.view)
    return {
        "sfumato": VERSION,
        "attack": found.attack.name,
        "settings": asdict(found.attack),
        "model": {"name": view.model.name, "fingerprint": view.model.unet_fingerprint},
        "protocol": view.spec.name,
        "spec": view.spec.to_dict(),
        "finding": found.guess.finding,
        "scores": {
            who: {metric: pair[place] for metric, pair in found.judged.items()}
            for place, who in enumerate(("guess", "prior"))
            if found.judged
        },
        **({} if content is None else {"guess": content}),
    }


def _print(found: _Found, written: list[Path]) -> None:
    from rich.console import Console

    from sfumato.cli.attack_guesses import table_of

    console, view = Console(soft_wrap=True, highlight=False), found.view
    console.print(f"[bold]{found.attack.name}[/] on {view.spec.name} with {view.model.name}: {found.guess.finding}")
    if (table := table_of(found.guess, view)) is not None:
        console.print(table)
    if found.judged:
        console.print(_table(found.judged))
    for path in written:
        console.print("[bold]Wrote[/]", str(path))


def _table(judged: Judged) -> "Table":
    from rich.table import Table

    table = Table()
    for heading in ("", *(HEADINGS.get(metric, metric) for metric in judged)):
        table.add_column(heading, justify="right" if heading else "left")
    for place, label in enumerate(("with the recording", "without it")):
        table.add_row(label, *(_text(metric, pair[place]) for metric, pair in judged.items()))
    return table


def _text(metric: str, number: float | None) -> str:
    return "-" if number is None else f"{number:.{1 if metric.startswith('psnr') else 4}f}"
