"""``sfumato bench defences``."""

from pathlib import Path
from typing import Annotated

import typer


def defences_bench(
    target: Annotated[str, typer.Option(help="A portraits target: a bundled name, or a folder.")] = "portraits-resnet",
    layer: Annotated[list[str] | None, typer.Option(help="A cut; repeatable. L4, L8 and L16 if none.")] = None,
    defence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME [FIELD=VALUE ...]'",
            help="A defence with settings, such as 'quantise bits=2'; repeatable. Without: several of each kind.",
        ),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME [FIELD=VALUE ...]'",
            help="A method of 'sfumato invert' with settings; repeatable, and the nearest counts. Without: direct "
            "optimisation of 60 iterations, smoothed in three strengths.",
        ),
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="Painted portraits that are attacked.")] = 6,
    task_pictures: Annotated[int, typer.Option(min=1, help="Painted portraits whose attributes are read.")] = 200,
    model: Annotated[str, typer.Option(help="The attacker's public diffusion model.")] = "portraits",
    threads: Annotated[int, typer.Option(min=1, help="Computing threads.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the defences' noise.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the table, rows as JSON lines, and a plot.")] = None,
) -> None:
    """Task accuracy against attack score, for defences of the features that cross a cut; minutes.

    Interrupted, it keeps finished rows, and the same command goes on from there.
    """
    from sfumato.bench.defences import DEFAULT_ATTACKS, DEFAULT_DEFENCES, DefencesRequest, bench_defences

    bench_defences(
        DefencesRequest(
            target=target,
            layers=layer or ["L4", "L8", "L16"],
            defences=defence or DEFAULT_DEFENCES,
            attacks=attack or DEFAULT_ATTACKS,
            pictures=pictures,
            task_pictures=task_pictures,
            model=model,
            threads=threads,
            seed=seed,
            out=out,
        )
    )
