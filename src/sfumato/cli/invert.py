"""``sfumato invert``: what the features that cross a cut give away."""

from typing import Annotated

import typer

from sfumato.cli.cost import Format
from sfumato.cli.invert_layers import print_layers


def invert(
    list_layers: Annotated[
        str,
        typer.Option(
            "--list-layers",
            metavar="MODEL",
            help="Show where a target can be cut: a bundled name such as portraits-resnet, a folder, or a hub name.",
        ),
    ],
    all_layers: Annotated[
        bool, typer.Option("--all-layers", help="Also those that the paper has no name for.")
    ] = False,
    height: Annotated[
        int | None, typer.Option(min=1, help="Pixels of the pictures; the default is the target's.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Pixels of the pictures; the default is the target's.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """Shows the layers after which a vision network can be cut, and what crosses there."""
    print_layers(list_layers, height=height, width=width, all_layers=all_layers, format=format)
