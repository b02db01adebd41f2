"""``sfumato experiment …``: the papers' tables."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from sfumato.errors import Unsupported

INTERRUPTED = 130
"""The exit code of a run that Ctrl-C ended."""


def ppidm_fidelity(
    prompts: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FILE[,FILE...]",
            help="A prompt set: CSV files with the columns prompt and evaluation_seed. Repeatable; Tables V to VII "
            "take the first.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the sweep: new, or the one to go on with.")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="Bundled model, folder or hub name; repeatable; portraits if none is named."),
    ] = None,
    clouds: Annotated[str, typer.Option(metavar="N[,N...]", help="Numbers of clouds in Table IV.")] = "2,4,8",
    merge: Annotated[str, typer.Option(metavar="NAME[,NAME]", help="exact, paper or both.")] = "exact,paper",
    steps: Annotated[int, typer.Option(min=1, help="DDIM steps of Tables IV, V and VII.")] = 50,
    step_counts: Annotated[str, typer.Option(metavar="N[,N...]", help="Steps of Table VI.")] = "30,40,50,60,70",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Compute only this many prompts of each set; a later call may go on.")
    ] = None,
    ablation_limit: Annotated[
        int | None, typer.Option(min=0, help="The same for Tables V to VII; 0 leaves them out.")
    ] = None,
    shard: Annotated[str, typer.Option(metavar="I/K", help="Compute the I-th of K parts, for K machines.")] = "1/1",
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures that one process computes together.")] = 16,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; the default is one a processor.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each worker process.")] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="auto|ADDRESS", help="Compute on this Ray cluster instead.")
    ] = None,
    networks: Annotated[
        str,
        typer.Option(
            help="For LPIPS, FID, IS and CLIP score: published, bundled (printed under other names), or auto: the "
            "published ones where they are installed."
        ),
    ] = "auto",
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Compute no pictures; score and tabulate.")
    ] = False,
) -> None:
    """PPIDM's Tables IV to VII: pictures of split and unsplit runs, compared pair by pair.

    Killed or interrupted, it keeps every finished batch; the same command goes on from there.
    """
    _require_extra()
    from sfumato.cli.experimenting import StudyRequest, run_study

    request = StudyRequest(
        prompts=prompts,
        out=out,
        models=model or ["portraits"],
        clouds=clouds,
        merge=merge,
        steps=steps,
        step_counts=step_counts,
        limit=limit,
        ablation_limit=ablation_limit,
        shard=shard,
        batch_size=batch_size,
        workers=workers,
        threads=threads,
        ray=ray,
        networks=networks,
        tables_only=tables_only,
    )
    try:
        run_study(request)
    except KeyboardInterrupt:
        typer.echo("Interrupted; every finished batch is kept, and the same command goes on from there.", err=True)
        raise SystemExit(INTERRUPTED) from None


def _require_extra() -> None:
    if missing := [name for name in ("polars", "matplotlib") if find_spec(name) is None]:
        raise Unsupported(f"experiments need {' and '.join(missing)}: pip install 'sfumato[experiments]'")
