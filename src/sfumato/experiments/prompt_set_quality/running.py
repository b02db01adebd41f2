"""Computes what a study still lacks: first all of the server's part, then the device's."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic

import polars as pl
from rich.console import Console
from rich.progress import Progress

from sfumato.experiments.picturing import current_commit
from sfumato.experiments.prompt_set_quality.attention import AttentionRow, Layers, time_attention
from sfumato.experiments.prompt_set_quality.device_side import Finishing, PortraitRow, finish
from sfumato.experiments.prompt_set_quality.portrait_prompts import PortraitPrompt
from sfumato.experiments.prompt_set_quality.seconds import Round, SecondsRow, time_round
from sfumato.experiments.prompt_set_quality.server_side import LatentRow, serve, served_ways
from sfumato.experiments.prompt_set_quality.study import Batch, Study, batches
from sfumato.experiments.rows import RowStore
from sfumato.experiments.workers import Workers
from sfumato.models.folder import ModelFolder
from sfumato.version import VERSION

BATCH_SIZE = 6
_LINE_SECONDS = 60.0


def run_server(study: Study, prompts: Sequence[PortraitPrompt], out: Path, workers: Workers, console: Console) -> int:
    """Makes the server's latents that are not in ``out/latents`` yet.

    Returns:
        Of how many prompts.
    """
    store = RowStore(out / "latents", LatentRow)
    todo = batches(study, prompts, served_ways(study), store.finished(), BATCH_SIZE)
    with progress(console, "server", sum(len(b.prompts) for b in todo)) as advance:
        for batch, rows in workers.map(partial(serve, version=VERSION, commit=current_commit()), todo):
            store.add(rows)
            advance(len(batch.prompts))
    return sum(len(b.prompts) for b in todo)


def run_device(
    study: Study,
    prompts: Sequence[PortraitPrompt],
    device: ModelFolder,
    out: Path,
    workers: Workers,
    console: Console,
) -> int:
    """Makes the pictures of one device model that are not in ``out/rows`` yet; the server's latents must be there.

    Returns:
        Of how many prompts.
    """
    latents = RowStore(out / "latents", LatentRow).read()
    store = RowStore(out / "rows", PortraitRow)
    found = store.finished()
    todo = batches(study, prompts, study.painting_ways, found, BATCH_SIZE, device=device.unet_fingerprint)
    work = [_finishing(batch, device, latents) for batch in todo]
    with progress(console, "device", sum(len(b.prompts) for b in todo)) as advance:
        for each, rows in workers.map(partial(finish, version=VERSION, commit=current_commit()), work):
            store.add(rows)
            advance(len(each.batch.prompts))
    return sum(len(b.prompts) for b in todo)


def run_rounds(
    study: Study,
    sizes: Sequence[int],
    number: int,
    device: ModelFolder | None,
    out: Path,
    workers: Workers,
    console: Console,
) -> int:
    """Times both sides, as many rounds at each size of the candidate set as are not in ``out/seconds`` yet.

    Args:
        study: its models and steps.
        sizes: of the candidate set.
        number: of rounds.
        device: the client's model; None for the server's part.
        out: folder of the study.
        workers: one process at a time is best.
        console: for progress.

    Returns:
        How many rounds were run.
    """
    store = RowStore(out / "seconds", SecondsRow)
    finished = store.finished()
    rounds = [Round(study=study, num_candidates=size, number=n, device=device) for n in range(number) for size in sizes]
    todo = [r for r in rounds if any(r.case(way) not in finished for way in r.ways)]
    with progress(console, "rounds", len(todo)) as advance:
        for _, rows in workers.map(partial(time_round, version=VERSION, commit=current_commit()), todo):
            store.add(rows)
            advance(1)
    return len(todo)


def run_attention(models: Sequence[Layers], out: Path, workers: Workers, console: Console) -> int:
    """Times attention layers that are not in ``out/attention`` yet.

    Returns:
        How many of the pieces of work were done.
    """
    store = RowStore(out / "attention", AttentionRow)
    finished = store.finished()
    todo = [each for each in models if not set(each.cases) <= finished]
    with progress(console, "attention", len(todo)) as advance:
        for _, rows in workers.map(partial(time_attention, version=VERSION, commit=current_commit()), todo):
            store.add(rows)
            advance(1)
    return len(todo)


def _finishing(batch: Batch, device: ModelFolder, latents: pl.DataFrame) -> Finishing:
    """A batch with the rows that its pictures begin from."""
    study = batch.study
    by_way = {
        way.name: _in_order(latents, [study.case(way, prompt) for prompt in batch.prompts])
        for way in served_ways(study)
    }
    first = next(iter(by_way.values()))
    return Finishing(
        batch=batch,
        device=device,
        latents={name: rows["latents"].to_list() for name, rows in by_way.items()},
        own_indices=first["own_index"].to_list(),
        server_commits=first["commit"].to_list(),
    )


def _in_order(rows: pl.DataFrame, cases: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"case": cases}).join(rows, on="case", how="left", maintain_order="left")


@contextmanager
def progress(console: Console, name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, and a line a minute elsewhere."""
    started = last = monotonic()
    done = 0
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=total)

        def advance(number: int) -> None:
            nonlocal done, last
            done += number
            bar.update(task, completed=done)
            if not console.is_terminal and monotonic() - last > _LINE_SECONDS:
                last = monotonic()
                minutes = (last - started) / done * (total - done) / 60
                console.print(f"{name}: {done} of {total}, {minutes:.0f} min left")

        yield advance
