"""``sfumato experiment …``: the papers' tables."""

from collections.abc import Callable
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
    _run(lambda: run_study(request))


def prompt_set(
    out: Annotated[Path, typer.Option(help="Folder of the study: new, or the one to go on with.")],
    model: Annotated[str, typer.Option(help="The server's: bundled model, folder or hub name.")] = "portraits",
    device_model: Annotated[str | None, typer.Option(help="The client's small model; bundled models have one.")] = None,
    prompts: Annotated[
        str, typer.Option(metavar="N=COUNT[,N=COUNT...]", help="Prompts for each size of the candidate set.")
    ] = "2=100,6=102,30=60",
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most this many prompts of each size; a later call may go on.")
    ] = None,
    steps: Annotated[int, typer.Option(min=2, help="DPM-Solver++ steps of both sides together.")] = 25,
    server_steps: Annotated[
        str, typer.Option(metavar="K-R-S[,K-R-S...]", help="Settings of prompt-set; the paper's are the default.")
    ] = "5-3-3,10-4-6",
    rounds: Annotated[int, typer.Option(min=0, help="Times that every way is timed on whole sets; 0: none.")] = 3,
    attention: Annotated[
        str, typer.Option(metavar="MODEL[,MODEL...]", help="Whose attention layers are timed alone; none: no one's.")
    ] = "portraits,sd15",
    server_only: Annotated[
        bool, typer.Option("--server-only", help="Compute the server's part; a later call finishes the pictures.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; the default is one a processor. Timing takes one.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each worker process.")] = 1,
    networks: Annotated[
        str, typer.Option(help="For Fréchet distance, CLIP score and attributes: published, bundled or auto.")
    ] = "bundled",
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Compute and time nothing; score and tabulate.")
    ] = False,
) -> None:
    """ObCLIP's table on portrait prompts: quality, requested attributes by value, FLOPs, seconds and bytes of each way.

    Killed or interrupted, it keeps every finished batch; the same command goes on from there.
    """
    _require_extra()
    from sfumato.cli.prompt_set_study import PromptSetRequest, run_prompt_set_study

    request = PromptSetRequest(
        out=out,
        model=model,
        device_model=device_model,
        prompts=prompts,
        limit=limit,
        steps=steps,
        server_steps=server_steps,
        rounds=rounds,
        attention=attention,
        server_only=server_only,
        workers=workers,
        threads=threads,
        networks=networks,
        tables_only=tables_only,
    )
    _run(lambda: run_prompt_set_study(request))


def inversion(
    out: Annotated[Path, typer.Option(help="Folder of the study: new, or the one to go on with.")],
    table: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="1 to 5, ablation, clips, clips-black or full; repeatable, and computed in this order. All if none is "
            "named.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="The public diffusion model: bundled, folder or hub name.")] = "portraits",
    pictures: Annotated[int | None, typer.Option(min=1, help="Painted portraits in each cell.")] = None,
    scale: Annotated[str, typer.Option(help="small, or the paper's pictures, iterations, steps and questions.")] = (
        "small"
    ),
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Change a number of the scale, such as white_iterations=300."
        ),
    ] = None,
    shard: Annotated[str, typer.Option(metavar="I/K", help="Compute the I-th of K parts, for K machines.")] = "1/1",
    rows: Annotated[
        Path | None,
        typer.Option(help="Rows of an earlier study (its rows.parquet); what they hold is not computed again."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Compute nothing; tabulate what is there.")
    ] = False,
) -> None:
    """The feature-inversion paper's Tables 1 to 5, its ablations and clips, on painted portraits.

    Killed or interrupted, it keeps every finished cell and checkpoints of the one under way; the same command goes on
    from there, and several may run in one folder at a time.
    """
    _require_extra()
    from sfumato.cli.inversion_study import InversionStudyRequest, run_inversion_study

    request = InversionStudyRequest(
        out=out,
        tables=table or [],
        model=model,
        pictures=pictures,
        scale=scale,
        settings=set_ or [],
        shard=shard,
        rows=rows,
        device=device,
        tables_only=tables_only,
    )
    _run(lambda: run_inversion_study(request))


def _run(study: Callable[[], None]) -> None:
    try:
        study()
    except KeyboardInterrupt:
        typer.echo("Interrupted; everything finished is kept, and the same command goes on from there.", err=True)
        raise SystemExit(INTERRUPTED) from None


def _require_extra() -> None:
    if missing := [name for name in ("polars", "matplotlib") if find_spec(name) is None]:
        raise Unsupported(f"experiments need {' and '.join(missing)}: pip install 'sfumato[experiments]'")
