"""``sfumato serve``: one cloud."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def serve(
    keys: Annotated[Path, typer.Option(help="This cloud's folder, made by 'sfumato keys', such as keys/cloud-1.")],
    model: Annotated[str, typer.Option(help="Bundled model, folder in diffusers' layout, or hub name.")] = "portraits",
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 7001,
    threads: Annotated[int | None, typer.Option(min=1, help="Computing threads; all cores by default.")] = None,
    max_sessions: Annotated[int, typer.Option(min=1, help="Runs served at the same time.")] = 8,
    idle_seconds: Annotated[float, typer.Option(min=1, help="Silence after which a session ends.")] = 300.0,
    vault: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also keep latents for 'sfumato vault', encrypted, in this folder."),
    ] = None,
    vault_latents: Annotated[int, typer.Option(min=1, help="Latents that a vault has room for.")] = 1000,
    vault_megabytes: Annotated[int, typer.Option(min=1, help="Megabytes that a vault has room for.")] = 1024,
    max_vaults: Annotated[int, typer.Option(min=1, help="Vaults that are kept.")] = 16,
    dtype: Annotated[Literal["fp32", "fp16", "bf16"], typer.Option(help="Of weights and arithmetic.")] = "fp32",
) -> None:
    """Serves a model as one cloud until it is told to stop.

    Clients need the 'client' folder that was made together with this cloud's keys.
    """
    from sfumato.transport.key_files import load_cloud_keys

    cloud_keys = load_cloud_keys(keys)

    import logging

    import torch

    from sfumato.models.folder import find_model
    from sfumato.protocols.vault.store import StoreLimits, VaultStore
    from sfumato.wire.dtypes import WIRE_DTYPES
    from sfumato.worker.service import ServiceLimits
    from sfumato.worker.service import serve as run_cloud
    from sfumato.worker.sessions import CloudSession, serve_model

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    if threads is not None:
        torch.set_num_threads(threads)
    limits = StoreLimits(max_vaults=max_vaults, max_latents=vault_latents, max_bytes=vault_megabytes * 10**6)
    vaults = None if vault is None else VaultStore(vault, limits)
    served = serve_model(find_model(model), WIRE_DTYPES[dtype])

    def announce(bound: int) -> None:
        typer.echo(f"{cloud_keys.name} serves {model} at {host}:{bound}")

    run_cloud(
        lambda peers: CloudSession(served, idle_seconds, peers=peers, vaults=vaults),
        cloud_keys,
        host=host,
        port=port,
        limits=ServiceLimits(max_sessions=max_sessions, idle_seconds=idle_seconds),
        ready=announce,
    )
