"""The options that all of ``sfumato vault`` have in common: which vault, and which cloud."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

VaultDir = Annotated[
    Path, typer.Option("--vault", metavar="DIR", help="Folder with the key and the names; it stays here.")
]
Into = Annotated[str, typer.Option(metavar="NAME", help="Name that the latent has from now on; it stays here.")]
Clouds = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Running cloud, started with --vault.")]
LocalClouds = Annotated[
    int | None,
    typer.Option(min=1, max=1, help="1: start the cloud on this machine; what it keeps is in the vault's folder."),
]
Keys = Annotated[Path | None, typer.Option(help="Folder made by 'sfumato keys'; needed with --clouds.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds a cloud may take for one answer.")]


@dataclass(frozen=True, kw_only=True)
class Where:
    """A vault, and the cloud that keeps it."""

    directory: Path
    clouds: str | None
    """Address; None for a local cloud."""
    keys: Path | None
    timeout: float


def where(directory: Path, clouds: str | None, local_clouds: int | None, keys: Path | None, timeout: float) -> Where:
    """Checks the common options.

    Raises:
        ValueError: no cloud, both kinds of cloud, several clouds, or an address without keys.
    """
    if (clouds is None) == (local_clouds is None):
        raise ValueError("name the cloud that keeps the vault: --clouds HOST:PORT --keys DIR, or --local-clouds 1")
    if clouds is not None and "," in clouds:
        raise ValueError("a vault is kept by one cloud: give --clouds one HOST:PORT")
    if clouds is not None and keys is None:
        raise ValueError("--clouds needs --keys: the folder that 'sfumato keys' made")
    return Where(directory=directory, clouds=clouds, keys=keys, timeout=timeout)
