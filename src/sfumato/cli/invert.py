"""``sfumato invert``: what the features that cross a cut give away."""

from pathlib import Path
from typing import Annotated

import typer

from sfumato.cli.cost import Format
from sfumato.cli.invert_layers import print_layers

EPILOG = "--set takes the fields of methods and defence; 'sfumato invert --settings NAME' lists them."


def invert(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE...", help="Pictures whose features are inverted; painted:SEED is one of the painter's."
        ),
    ] = None,
    target: Annotated[
        str,
        typer.Option(help="The network that is cut: a bundled name, a folder, a hub name, or FILE.py:FUNCTION."),
    ] = "portraits-resnet",
    weights: Annotated[
        Path | None, typer.Option(help="Handed to the function of a target FILE.py:FUNCTION, which runs it.")
    ] = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="The cut: 8 and L8 are the paper's name, or a layer's path; repeatable.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="white-box, direct, decoder, black-box, black-box-decoder or black-box-direct; repeatable."),
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(help="What the attacker knows in words; of several the best by the attack's own loss is taken."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A setting of the defence, or of the methods that have it; repeatable.",
        ),
    ] = None,
    defence: Annotated[
        str | None,
        typer.Option(help="What is done to the features first: gaussian-noise, quantise or drop-channels."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for guesses, panel, curves and report.")] = None,
    frames: Annotated[int, typer.Option(min=1, help="So many pictures in a row are one clip.")] = 1,
    draws: Annotated[
        int, typer.Option(min=1, help="Guesses from the prior alone, whose mean score is what the features add to.")
    ] = 4,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the attacker's random numbers.")] = 0,
    model: Annotated[
        str, typer.Option(help="The public diffusion model: a bundled name, a folder, or a hub name.")
    ] = "portraits",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    show_settings: Annotated[
        str | None, typer.Option("--settings", metavar="NAME", help="Show the settings of a method or a defence.")
    ] = None,
    list_layers: Annotated[
        str | None,
        typer.Option(
            "--list-layers",
            metavar="MODEL",
            help="Show where a target can be cut: a name such as portraits-resnet, a folder, or FILE.py:FUNCTION.",
        ),
    ] = None,
    all_layers: Annotated[
        bool, typer.Option("--all-layers", help="With --list-layers: also those that the paper has no name for.")
    ] = False,
    recommend: Annotated[
        str | None,
        typer.Option("--recommend", metavar="MODEL", help="Show a cut and a defence of a target, with their figures."),
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(help="With --recommend: a folder of 'sfumato bench defences'; without, the package's rows."),
    ] = None,
    height: Annotated[
        int | None, typer.Option(min=1, help="Pixels; the default is the model's, with --list-layers the target's.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Pixels; the default is the model's, with --list-layers the target's.")
    ] = None,
    format: Annotated[Format, typer.Option(help="With --list-layers: how to print.")] = Format.TABLE,
) -> None:
    """Measures what a cut gives away: makes pictures from the features that cross it, and scores them.

    Writes the guesses, a panel, loss curves and report.json into a folder. Interrupted, it keeps the best so far, and
    the same command goes on from there.
    """
    if list_layers is not None:
        print_layers(list_layers, weights=weights, height=height, width=width, all_layers=all_layers, format=format)
        return
    if show_settings is not None:
        from sfumato.cli.invert_settings import print_settings

        print_settings(show_settings)
        return
    if recommend is not None:
        from sfumato.cli.invert_recommend import print_recommendation

        print_recommendation(recommend, rows)
        return
    if not images:
        raise ValueError("name the pictures to invert: sfumato invert face.png --layer 8 --out folder")
    if not layer or out is None:
        raise ValueError("give a cut and a folder: --layer 8 --out folder; --list-layers TARGET shows the cuts")

    from sfumato.cli.invert_request import InvertRequest
    from sfumato.cli.inverting import run

    run(
        InvertRequest(
            images=images,
            target=target,
            weights=weights,
            layers=list(dict.fromkeys(layer)),
            methods=list(dict.fromkeys(method or ["white-box"])),
            priors=list(dict.fromkeys(prior or [])),
            settings=settings or [],
            defence=defence,
            out=out,
            num_frames=frames,
            num_draws=draws,
            seed=seed,
            model=model,
            device=device,
            height=height,
            width=width,
        )
    )
