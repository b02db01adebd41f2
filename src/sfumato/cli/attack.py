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
    clouds: Annotated[
        str | None,
        typer.Option(metavar="NAME[,NAME…]", help="Clouds that pool what they saw, such as cloud-1,cloud-2."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of the run, where an attack must know and no transcript says.")
    ] = None,
    scheduler: Annotated[str, typer.Option(help="Of the run, with --steps.")] = "dpm++",
    guidance_scale: Annotated[float, typer.Option(help="Of the run, with --steps.")] = 5.0,
    candidates: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Texts that may be the prompt, one a line, for attacks that rank."),
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
    from sfumato.cli.attack_views import ViewRequest
    from sfumato.cli.attacking import AttackRequest, print_attacks, run_attack

    if show_list:
        print_attacks()
        raise typer.Exit
    if name is None or run is None:
        raise ValueError("name an attack and a recorded run: sfumato attack predictions RUN, or sfumato attack --list")
    run_attack(
        AttackRequest(
            name=name,
            settings=settings or [],
            model=model,
            seen=ViewRequest(
                run=run,
                clouds=clouds,
                steps=steps,
                scheduler=scheduler,
                guidance_scale=guidance_scale,
                candidates=candidates,
            ),
            secrets=secrets,
            truth=truth,
            out=out,
            as_json=format is Format.JSON,
        )
    )
