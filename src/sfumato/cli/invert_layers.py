"""The table of places to cut a target."""

import json
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sfumato.cli.cost import Format
from sfumato.cli.wide import print_wide

if TYPE_CHECKING:
    from sfumato.attacks.targets import Layer


def print_layers(
    model: str, *, weights: Path | None, height: int | None, width: int | None, all_layers: bool, format: Format
) -> None:
    """Prints the layers of a target, in the order they end.

    Args:
        model: bundled name, folder, hub name, or FILE.py:FUNCTION.
        weights: for such a function.
        height: of the pictures, in pixels; the target's own without.
        width: as `height`.
        all_layers: of a family that the paper names, also the layers that it does not.
        format: table or JSON.

    Raises:
        ModelError, Unsupported: as `load_target`.
    """
    from sfumato.attacks.targets import load_target

    target = load_target(model, weights)
    own_height, own_width = target.picture_size
    layers = target.layers((height or own_height, width or own_width))
    if not all_layers and any(_is_named(layer) for layer in layers):
        layers = [layer for layer in layers if _is_named(layer) or layer.path in (layers[0].path, layers[-1].path)]
    if format is Format.JSON:
        typer.echo(json.dumps([asdict(layer) for layer in layers], indent=2))
    else:
        _print_table(layers)


def _is_named(layer: "Layer") -> bool:
    return layer.name != layer.path


def _print_table(layers: list["Layer"]) -> None:
    from rich.table import Table

    table = Table("layer", "path", "kind", "crosses, of one picture")
    for name in ("values", "parameters before"):
        table.add_column(name, justify="right")
    for layer in layers:
        shapes = " + ".join(" x ".join(map(str, shape[1:])) for shape in layer.shapes)
        values = sum(prod(shape) for shape in layer.shapes)
        parameters = layer.num_parameters_before
        path = layer.path if _is_named(layer) else ""
        table.add_row(layer.name, path, layer.kind, shapes, f"{values:,}", f"{parameters:,}")
    print_wide([table])
