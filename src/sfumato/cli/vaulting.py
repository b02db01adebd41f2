"""The runs behind ``sfumato vault``: what does not fit is refused before a cloud is started or asked."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sfumato.cli.vault_options import Where
from sfumato.client.latent_files import (
    brightening,
    read_cells,
    read_latent,
    require_model,
    require_output,
    write_latent,
)
from sfumato.client.local_clouds import LocalClouds
from sfumato.client.remote_clouds import RemoteClouds
from sfumato.client.vault import Cost, LatentVault
from sfumato.client.vault_folder import StoredLatent, VaultFolder, locked
from sfumato.client.wrapped_clouds import TimedClouds
from sfumato.files import check_writable
from sfumato.models.folder import ModelFolder, find_model


def run_put(where: Where, picture: Path, name: str, model: str) -> None:
    """Encodes, encrypts, stores; the vault is made if there is none.

    Raises:
        ValueError: wrong usage, found before a cloud is asked.
        SfumatoError: it failed; the index is as it was.
    """
    folder = find_model(model)
    latent = read_latent(picture, folder)
    if not VaultFolder.is_at(where.directory):
        VaultFolder.make(where.directory)
    with _opened(where) as (vault, index):
        index.require_free(name)
        cost = vault.put(name, latent, folder)
        _say(f"put {name!r}, {_described(index.find(name))}", cost)


def run_blend(where: Where, first: str, second: str, mask: Path, into: str) -> None:
    """Blends by a mask.

    Raises:
        ValueError, SfumatoError: as :func:`run_put`.
    """
    with _opened(where) as (vault, index):
        _, height, width = index.find(first).shape
        cells, size = read_cells(mask, height, width)
        _say_averaged("mask", size, height, width)
        cost = vault.blend(first, second, cells, into)
        _say(f"blended {first!r} and {second!r} to {into!r}", cost)


def run_interpolate(where: Where, first: str, second: str, weight: float, into: str) -> None:
    """Mixes two latents.

    Raises:
        ValueError, SfumatoError: as :func:`run_put`.
    """
    with _opened(where) as (vault, _):
        cost = vault.interpolate(first, second, weight, into)
        _say(f"mixed {first!r} and {second!r} to {into!r}", cost)


def run_watermark(where: Where, name: str, mark: Path, strength: float, into: str) -> None:
    """Adds a mark that brightens.

    Raises:
        ValueError, SfumatoError: as :func:`run_put`.
    """
    with _opened(where) as (vault, index):
        index.require_free(into)
        stored = index.find(name)
        _, height, width = stored.shape
        cells, size = read_cells(mark, height, width)
        white = brightening(_model_of(stored), height, width)
        _say_averaged("mark", size, height, width)
        cost = vault.add_mark(name, strength * cells * white, into)
        _say(f"marked {name!r} to {into!r}", cost)


def run_get(where: Where, name: str, out: Path) -> None:
    """Fetches, decrypts, decodes, writes.

    Raises:
        ValueError, SfumatoError: as :func:`run_put`.
    """
    require_output(out)
    check_writable(out)
    with _opened(where) as (vault, index):
        model = _model_of(index.find(name))
        latent, cost = vault.get(name)
        write_latent(out, latent, model)
        _say(f"wrote {out}", cost)


def run_drop(where: Where, name: str) -> None:
    """Has a latent forgotten.

    Raises:
        ValueError, SfumatoError: as :func:`run_put`.
    """
    with _opened(where) as (vault, _):
        was_held, cost = vault.drop(name)
        _say(f"dropped {name!r}" + ("" if was_held else ", which this cloud did not keep"), cost)


def run_list(directory: Path) -> None:
    """Prints the index.

    Raises:
        StorageError: there is no vault, or its index is damaged.
    """
    index = VaultFolder.open(directory)
    table = Table("name", "latent", "model", "can be")
    for name, stored in sorted(index.latents.items()):
        multiplied = stored.level < index.parameters.depth
        table.add_row(name, _described(stored), stored.model, "blended, mixed, marked" if multiplied else "marked")
    Console().print(table)


@contextmanager
def _opened(where: Where) -> Iterator[tuple[LatentVault, VaultFolder]]:
    if not VaultFolder.is_at(where.directory):
        VaultFolder.open(where.directory)
    with locked(where.directory):
        index = VaultFolder.open(where.directory)
        clouds: LocalClouds | RemoteClouds
        if where.clouds is not None and where.keys is not None:
            clouds = RemoteClouds(where.clouds, where.keys)
        else:
            clouds = LocalClouds(None, 1, vault=where.directory / "cloud", idle_seconds=max(300.0, where.timeout))
            # It loads while this process reads what it was given.
            clouds.start()
        with closing(clouds):
            yield LatentVault(index, TimedClouds(clouds, where.timeout)), index


def _model_of(stored: StoredLatent) -> ModelFolder:
    return require_model(find_model(stored.model), stored.fingerprint)


def _described(stored: StoredLatent) -> str:
    return " x ".join(map(str, stored.shape))


def _say_averaged(what: str, size: tuple[int, int], height: int, width: int) -> None:
    if size != (height, width):
        _print(f"the {what} of {size[0]} x {size[1]} pixels was averaged to the latent's {height} x {width} cells")


def _say(what: str, cost: Cost) -> None:
    _print(
        f"{what}: {cost.sent_bytes / 1e3:,.1f} kB up, {cost.received_bytes / 1e3:,.1f} kB down, "
        f"{cost.milliseconds:.0f} ms"
    )


def _print(sentence: str) -> None:
    Console(soft_wrap=True, highlight=False).print(sentence, markup=False)
