"""``sfumato vault``: latents of pictures, kept encrypted at a cloud, and what can be done with them there."""

from pathlib import Path
from typing import Annotated

import typer

from sfumato.cli.vault_options import Clouds, Into, Keys, LocalClouds, Timeout, VaultDir, where

vault = typer.Typer(no_args_is_help=True, help="Keeps pictures' latents encrypted at a cloud, and combines them there.")


@vault.command()
def put(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="Picture, or latent in .npy or .safetensors.")],
    directory: VaultDir,
    name: Into,
    model: Annotated[
        str, typer.Option(help="Whose latent it becomes: bundled, folder in diffusers' layout, or hub name.")
    ] = "portraits",
    clouds: Clouds = None,
    local_clouds: LocalClouds = None,
    keys: Keys = None,
    timeout: Timeout = 120.0,
) -> None:
    """Encodes a picture, encrypts its latent and stores it; makes the vault where there is none."""
    from sfumato.cli.vaulting import run_put

    run_put(where(directory, clouds, local_clouds, keys, timeout), picture, name, model)


@vault.command()
def blend(
    first: Annotated[str, typer.Argument(metavar="A", help="Shown where the mask is white.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Shown where it is black.")],
    mask: Annotated[Path, typer.Option(help="Picture, read as grey. The cloud sees it.")],
    directory: VaultDir,
    name: Into,
    clouds: Clouds = None,
    local_clouds: LocalClouds = None,
    keys: Keys = None,
    timeout: Timeout = 120.0,
) -> None:
    """Has the cloud blend two latents by a mask, without decrypting them."""
    from sfumato.cli.vaulting import run_blend

    run_blend(where(directory, clouds, local_clouds, keys, timeout), first, second, mask, name)


@vault.command()
def interpolate(
    first: Annotated[str, typer.Argument(metavar="A")],
    second: Annotated[str, typer.Argument(metavar="B")],
    weight: Annotated[float, typer.Option(help="Of A, from 0 to 1. The cloud sees it.")],
    directory: VaultDir,
    name: Into,
    clouds: Clouds = None,
    local_clouds: LocalClouds = None,
    keys: Keys = None,
    timeout: Timeout = 120.0,
) -> None:
    """Has the cloud mix two latents, without decrypting them."""
    from sfumato.cli.vaulting import run_interpolate

    run_interpolate(where(directory, clouds, local_clouds, keys, timeout), first, second, weight, name)


@vault.command()
def watermark(
    latent: Annotated[str, typer.Argument(metavar="A")],
    mark: Annotated[Path, typer.Option(help="Picture, read as grey: where it is white, A becomes brighter.")],
    directory: VaultDir,
    name: Into,
    strength: Annotated[
        float, typer.Option(min=-1, max=1, help="1 adds all that white is above black; below 0 darkens.")
    ] = 0.1,
    clouds: Clouds = None,
    local_clouds: LocalClouds = None,
    keys: Keys = None,
    timeout: Timeout = 120.0,
) -> None:
    """Has the cloud add a mark, which it does not see."""
    from sfumato.cli.vaulting import run_watermark

    run_watermark(where(directory, clouds, local_clouds, keys, timeout), latent, mark, strength, name)


@vault.command()
def get(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    out: Annotated[Path, typer.Option(help="Picture (.png) or latent (.npy, .safetensors) to write.")],
    directory: VaultDir,
    clouds: Clouds = None,
    local_clouds: LocalClouds = None,
    keys: Keys = None,
    timeout: Timeout = 120.0,
) -> None:
    """Fetches a latent, decrypts it here and writes the picture; the latent stays at the cloud."""
    from sfumato.cli.vaulting import run_get

    run_get(where(directory, clouds, local_clouds, keys, timeout), name, out)


@vault.command()
def drop(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    directory: VaultDir,
    clouds: Clouds = None,
    local_clouds: LocalClouds = None,
    keys: Keys = None,
    timeout: Timeout = 120.0,
) -> None:
    """Has the cloud forget a latent."""
    from sfumato.cli.vaulting import run_drop

    run_drop(where(directory, clouds, local_clouds, keys, timeout), name)


@vault.command("list")
def list_latents(directory: VaultDir) -> None:
    """Lists what is in a vault; asks no cloud."""
    from sfumato.cli.vaulting import run_list

    run_list(directory)
