"""``sfumato models``: what can be run, and what can be counted."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sfumato.cli.cost import Format

if TYPE_CHECKING:
    from sfumato.models.folder import ModelFolder

_PREFIX = 12


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """One model that ``--model``, or ``sfumato invert``, takes."""

    name: str
    kind: str
    """bundled, cached (from the hub), architecture (for counting; holds no weights), or target (to be inverted)."""
    size_bytes: int
    unet_parameters: int | None
    """None where the denoiser is not a U-Net that sfumato runs."""
    fingerprint: str | None
    """First digits of what client and cloud compare; None without weights, or where it was not asked for."""


def models(
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
    fingerprints: Annotated[
        bool, typer.Option("--fingerprints", help="Also read all weights of cached models, to give their fingerprints.")
    ] = False,
) -> None:
    """Lists the models at hand: bundled, cached from the hub, architectures for counting, targets of inversion."""
    found = list(listed_models(fingerprints=fingerprints))
    if format is Format.JSON:
        typer.echo(json.dumps([asdict(m) for m in found], indent=2))
    else:
        _print_table(found)


def listed_models(*, fingerprints: bool) -> Iterator[ListedModel]:
    """Every model that ``--model`` takes by name, and the bundled targets that ``sfumato invert`` takes.

    Args:
        fingerprints: read the weights of cached models too; bundled ones are always read.
    """
    from sfumato.models.folder import ARCHITECTURES, BUNDLED, ModelFolder, architectures, bundled_models

    for name in bundled_models():
        yield _listed(ModelFolder(BUNDLED / name, name), "bundled", fingerprint=True)
    for folder in _cached():
        yield _listed(folder, "cached", fingerprint=fingerprints)
    for name in architectures():
        yield _listed(ModelFolder(ARCHITECTURES / name, name), "architecture", fingerprint=False)
    yield from _targets()


def _cached() -> Iterator["ModelFolder"]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    from sfumato.models.folder import ModelFolder

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return
    for repo in sorted(repos, key=lambda r: r.repo_id):
        newest = max(repo.revisions, key=lambda r: r.last_modified, default=None)
        if newest and (newest.snapshot_path / "model_index.json").is_file():
            yield ModelFolder(newest.snapshot_path, repo.repo_id)


def _targets() -> Iterator[ListedModel]:
    from sfumato.attacks.targets import bundled_targets
    from sfumato.models.folder import BUNDLED

    for name in bundled_targets():
        size = sum(file.stat().st_size for file in (BUNDLED / name).iterdir())
        yield ListedModel(name=name, kind="target", size_bytes=size, unet_parameters=None, fingerprint=None)


def _listed(model: "ModelFolder", kind: str, *, fingerprint: bool) -> ListedModel:
    from sfumato.errors import SfumatoError

    try:
        mark = model.unet_fingerprint[:_PREFIX] if fingerprint else None
    except SfumatoError:
        mark = None
    return ListedModel(
        name=model.name,
        kind=kind,
        size_bytes=sum(file.stat().st_size for file in model.path.rglob("*") if file.is_file()),
        unet_parameters=_unet_parameters(model),
        fingerprint=mark,
    )


def _unet_parameters(model: "ModelFolder") -> int | None:
    from sfumato.errors import SfumatoError
    from sfumato.models.loading import meta_unet

    try:
        return sum(p.numel() for p in meta_unet(model).parameters())
    except SfumatoError:
        return None


def _print_table(found: list[ListedModel]) -> None:
    from rich.console import Console
    from rich.table import Table

    from sfumato.cost.table import human_bytes

    table = Table("model", "kind")
    for name in ("size", "U-Net parameters"):
        table.add_column(name, justify="right")
    table.add_column("fingerprint")
    for model in found:
        table.add_row(
            model.name,
            model.kind,
            human_bytes(model.size_bytes) if model.kind != "architecture" else "-",
            f"{model.unet_parameters / 1e6:,.1f} M" if model.unet_parameters is not None else "not a U-Net",
            model.fingerprint or "-",
        )
    Console().print(table)
