"""``sfumato audit``: what each cloud learned, by attack, with controls."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from sfumato.cli.experiment import INTERRUPTED
from sfumato.errors import Unsupported


def audit(
    out: Annotated[Path, typer.Option(help="Folder of the audit: new, or the one to go on with.")],
    recorded: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Folders that 'generate --record' wrote, each with its --secrets."),
    ] = None,
    secrets: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE.safetensors", help="What 'generate --secrets' wrote for each RUN, in their order."),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME [FIELD=VALUE ...]'",
            help="Make runs of this protocol, such as 'layer-split num_clouds=2'; repeatable. Without it and without "
            "RUN: one setting of each protocol. 'published' stands for the settings of the committed report.",
        ),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME [FIELD=VALUE ...]'", help="An attack of 'sfumato attack --list'; repeatable; all if none."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=2, help="Secrets of each setting: people, prompts, pictures.")] = 50,
    slow_samples: Annotated[
        int, typer.Option(min=2, help="The same for attacks that optimise for each; whole batches.")
    ] = 20,
    coalitions: Annotated[str, typer.Option(metavar="SIZE[,SIZE...]", help="How many clouds pool what they saw.")] = (
        "1,2"
    ),
    most_coalitions: Annotated[int, typer.Option(min=1, help="Coalitions of each size, evenly spread.")] = 2,
    model: Annotated[str, typer.Option(help="Bundled model, folder or hub name.")] = "portraits",
    steps: Annotated[int, typer.Option(min=2, help="Of each run that is made.")] = 8,
    guidance_scale: Annotated[float, typer.Option(help="Of the runs.")] = 5.0,
    scheduler: Annotated[str, typer.Option(help="Of the runs: ddim, dpm++, euler, lcm or plms.")] = "dpm++",
    batch_size: Annotated[int, typer.Option(min=1, help="Secrets in one run that is made.")] = 10,
    tables_only: Annotated[bool, typer.Option("--tables-only", help="Run nothing; write the report anew.")] = False,
) -> None:
    """Attacks runs of the protocols and says what was learned: with a control and an interval beside every number.

    An attack is given what the clouds saw and what is public. Its score less that of the same attacker without the
    transcript is the leakage; where it fails on a run that hides nothing, or succeeds on noise, it is inconclusive.
    Killed or interrupted, it keeps every finished batch; the same command goes on from there.
    """
    if missing := [name for name in ("polars", "matplotlib", "scipy", "jinja2", "skia") if find_spec(name) is None]:
        raise Unsupported(f"an audit needs {' and '.join(missing)}: pip install 'sfumato[audit]'")
    from sfumato.cli.auditing import AuditRequest, run_audit

    request = AuditRequest(
        out=out,
        recorded=recorded or [],
        secrets=secrets or [],
        protocols=protocol or [],
        attacks=attack or [],
        samples=samples,
        slow_samples=slow_samples,
        coalitions=coalitions,
        most_coalitions=most_coalitions,
        model=model,
        steps=steps,
        guidance_scale=guidance_scale,
        scheduler=scheduler,
        batch_size=batch_size,
        tables_only=tables_only,
    )
    try:
        run_audit(request)
    except KeyboardInterrupt:
        typer.echo("Interrupted; every finished batch is kept, and the same command goes on from there.", err=True)
        raise SystemExit(INTERRUPTED) from None
