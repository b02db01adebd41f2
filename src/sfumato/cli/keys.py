"""``sfumato keys``: who may talk to whom."""

from pathlib import Path
from typing import Annotated

import typer


def keys(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the keys.")],
    clouds: Annotated[int, typer.Option(min=1, help="How many clouds.")] = 4,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[,HOST...]",
            help="Hosts of the clouds in order, or one for all; sfumato needs none, other TLS tools do.",
        ),
    ] = None,
    days: Annotated[float, typer.Option(min=0.01, max=3650, help="How long the certificates hold.")] = 365.0,
) -> None:
    """Makes a private authority, the client's certificate and one certificate and token for each cloud.

    Nothing is overwritten. Give each operator its own cloud folder and nothing else.
    """
    from sfumato.transport.key_files import make_keys

    hosts = [name.strip() for names in host or [] for name in names.split(",")]
    hosts = hosts * clouds if len(hosts) == 1 else hosts
    make_keys(directory, clouds=clouds, hosts=hosts, days=days)
    names = [f"cloud-{i + 1}" for i in range(clouds)]
    typer.echo(f"{directory}/client stays with the client:  sfumato generate PROMPT --keys {directory} --clouds …")
    for i, name in enumerate(names):
        where = f"{name} at {hosts[i]}" if hosts else f"the operator of {name}"
        typer.echo(f"{directory}/{name} goes to {where}, and to nobody else:  sfumato serve --keys {name} --port 7001")
    typer.echo(f"{directory}/ca signed all of it; nothing above needs it to run, keep it offline")
