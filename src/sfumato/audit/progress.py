"""The whole of an audit: what is left of a plan, with the time it will take."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sfumato.audit.plan import Plan
from sfumato.audit.running import Runs, pieces, run_piece
from sfumato.audit.store import Store


def run_plan(plan: Plan, runs: Runs, out: Path, console: Console) -> None:
    """Does what a plan still lacks, and tells how far it is.

    Raises:
        SfumatoError: a run or an attack failed; what was finished is kept.
    """
    store = Store.of(out)
    columns = (
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.description}"), console=console) as bars:
        todo = pieces(plan, runs.batch_size)
        task = bars.add_task("", total=sum(len(piece.audited.trials) for piece in todo))
        for piece in todo:
            made = run_piece(
                plan, runs, piece, store, lambda words, by: bars.update(task, advance=by, description=words)
            )
            bars.advance(task, len(piece.audited.trials) - made)
        bars.update(task, description="")
