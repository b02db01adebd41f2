"""The run behind ``sfumato attack``: the attack on what was recorded, and then the judging."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sfumato.files import check_writable, write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from sfumato.attacks.base import Attack, RunView
    from sfumato.attacks.homomorphic.base import PartlyHidden
    from sfumato.audit.scores import Scores
    from sfumato.models.folder import ModelFolder
    from sfumato.tensors import Latent


@dataclass(frozen=True, kw_only=True)
class AttackRequest:
    """What the command line asked for."""

    name: str
    run: Path
    settings: list[str]
    model: str
    secrets: Path | None
    truth: Path | None
    out: Path | None
    as_json: bool


@dataclass(frozen=True, kw_only=True)
class _Truth:
    """What guesses are judged by; the attack never has it."""

    latents: "Latent | None"
    pictures: "NDArray[np.uint8] | None"


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
    from sfumato.attacks.base import RunView
    from sfumato.attacks.catalog import find_attack
    from sfumato.audit.scores import scores
    from sfumato.models.decoding import decode, to_uint8
    from sfumato.models.folder import find_model
    from sfumato.models.loading import load_decoder
    from sfumato.protocols.settings import parse_values
    from sfumato.transport.recording import Recording

    kind = find_attack(request.name)
    attack = kind(**parse_values(request.name, kind, request.settings, {}))
    model = find_model(request.model)
    view = RunView.of(Recording.read(request.run), model)
    guess = _latents(attack.run(view))
    decoder = load_decoder(model)
    pictures = to_uint8(decode(decoder, guess.latents))
    judged: dict[str, Scores] = {}
    if request.secrets or request.truth:
        truth = _truth(request, model, decoder)
        prior = _latents(attack.prior(view))
        for name, one, seen in (
            ("guess", guess, pictures),
            ("prior", prior, to_uint8(decode(decoder, prior.latents))),
        ):
            judged[name] = scores(one.latents, one.was_hidden, seen, latents=truth.latents, truth=truth.pictures)
    written = [] if request.out is None else _write(request.out, pictures)
    if request.as_json:
        print(json.dumps(_as_json(attack, view, guess, judged), indent=2))
    else:
        _print(attack, view, guess, judged, written)


def _latents(guess: Any) -> "PartlyHidden":
    from sfumato.attacks.homomorphic.base import PartlyHidden

    assert isinstance(guess, PartlyHidden), "attacks of this command guess latents"
    return guess


def _check_files(request: AttackRequest) -> None:
    if request.out is not None:
        if request.out.suffix.lower() != ".png":
            raise ValueError(f"--out must name a .png file, got {request.out}")
        check_writable(request.out)
    if request.truth is not None and not request.truth.is_file():
        raise ValueError(f"--truth {request.truth} is no file: name the picture that the run made")


def _truth(request: AttackRequest, model: "ModelFolder", decoder: Any) -> _Truth:
    from sfumato.errors import SpecMismatch
    from sfumato.models.decoding import decode, to_uint8
    from sfumato.run_secrets import RunSecrets

    latents = None
    if request.secrets is not None:
        secrets = RunSecrets.read(request.secrets)
        if secrets.model_fingerprint != model.unet_fingerprint:
            raise SpecMismatch("the secrets are of a run with another model: name those of the run that was recorded")
        latents = secrets.latents[-1]
    if request.truth is not None:
        return _Truth(latents=latents, pictures=_read_picture(request.truth))
    assert latents is not None
    return _Truth(latents=latents, pictures=to_uint8(decode(decoder, latents)))


def _read_picture(path: Path) -> "NDArray[np.uint8]":
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))[None]
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"--truth {path} is no picture that can be read") from error


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


def _as_json(attack: "Attack", view: "RunView", guess: "PartlyHidden", judged: "dict[str, Scores]") -> dict[str, Any]:
    from sfumato.version import VERSION

    return {
        "sfumato": VERSION,
        "attack": attack.name,
        "settings": asdict(attack),
        "model": {"name": view.model.name, "fingerprint": view.model.unet_fingerprint},
        "protocol": view.spec.name,
        "spec": view.spec.to_dict(),
        "finding": guess.finding,
        "scores": {name: one.to_dict() for name, one in judged.items()},
    }


def _print(
    attack: "Attack", view: "RunView", guess: "PartlyHidden", judged: "dict[str, Scores]", written: list[Path]
) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    console.print(f"[bold]{attack.name}[/] on {view.spec.name} with {view.model.name}: {guess.finding}")
    if judged:
        console.print(_table(judged))
    for path in written:
        console.print("[bold]Wrote[/]", str(path))


def _table(judged: "dict[str, Scores]") -> "Table":
    from rich.table import Table

    table = Table()
    table.add_column("")
    for heading in ("correlation", "of hidden entries", "PSNR dB"):
        table.add_column(heading, justify="right")
    for name, label in (("guess", "with the recording"), ("prior", "without it")):
        one = judged[name]
        numbers = (_text(one.correlation, 4), _text(one.hidden_correlation, 4), _text(one.psnr_db, 1))
        table.add_row(label, *numbers)
    return table


def _text(number: float | None, digits: int) -> str:
    return "-" if number is None else f"{number:.{digits}f}"
