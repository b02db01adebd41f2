"""``sfumato attack``: what the clouds of a recorded run can find out."""

from pathlib import Path
from typing import Annotated

import typer

from sfumato.cli.cost import Format


def attack(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Which attack; --list names them.")] = None,
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="Folder that 'generate --record' wrote.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A setting of the attack; repeatable.")
    ] = None,
    model: Annotated[str, typer.Option(help="The model of the run: bundled, folder or hub name.")] = "portraits",
    secrets: Annotated[
        Path | None,
        typer.Option(metavar="FILE.safetensors", help="What 'generate --secrets' wrote: judges latents and picture."),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="The picture that the run made: judges the picture.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Where to write the attacker's picture; several are numbered."),
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
    show_list: Annotated[bool, typer.Option("--list", help="Names every attack, what it needs and its settings.")] = (
        False
    ),
) -> None:
    """Runs an attack on a recorded run, with what its clouds saw and the public model.

    The attack is given no secret; --secrets and --truth only judge what it guesses, beside the guess of the same
    attacker who has not read the recording.
    """
    from sfumato.cli.attacking import AttackRequest, print_attacks, run_attack

    if show_list:
        print_attacks()
        raise typer.Exit
    if name is None or run is None:
        raise ValueError("name an attack and a recorded run: sfumato attack predictions RUN, or sfumato attack --list")
    run_attack(
        AttackRequest(
            name=name,
            run=run,
            settings=settings or [],
            model=model,
            secrets=secrets,
            truth=truth,
            out=out,
            as_json=format is Format.JSON,
        )
    )
