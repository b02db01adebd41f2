"""``sfumato bench random-model``: a model folder with random weights."""

from pathlib import Path
from typing import Annotated

import typer


def random_model(
    arch: Annotated[str, typer.Argument(help="sd15, sdxl, tiny-sd or tiny-sdxl.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; a new or empty folder.")],
    seed: Annotated[int, typer.Option(help="Fixes the weights.")] = 0,
    dtype: Annotated[str, typer.Option(help="Number format of the weights: fp32 or fp16.")] = "fp32",
) -> None:
    """Writes a model folder with random weights, for timing and tests: it runs like the real one and paints noise."""
    from sfumato.models.random_folder import write_random_model

    model = write_random_model(arch, folder, seed, dtype=dtype)
    typer.echo(f"wrote {arch} with random weights to {model.path}")
