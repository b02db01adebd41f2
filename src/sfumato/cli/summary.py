"""The closing table of a run: who saw what, and what it cost."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sfumato.client.report import Report


def print_summary(console: Console, report: Report, written: Sequence[Path]) -> None:
    """Prints traffic per cloud, totals, the claim and its limits, and the files written."""
    console.print(_traffic(report))
    compute, traffic = report.compute, report.traffic
    total = compute.client_flops + compute.cloud_flops
    steps = f"{report.num_inference_steps} step{'s' * (report.num_inference_steps > 1)}"
    noise = "noise from the operating system" if report.seed is None else f"seed {report.seed}"
    console.print(
        f"{steps} in {report.seconds:.1f} s, {traffic.rounds} rounds, "
        f"{traffic.waiting_seconds:.1f} s waiting for clouds; "
        f"clouds did {compute.cloud_flops / total:.0%} of {total / 1e9:.1f} GFLOP; {noise}"
    )
    console.print(_sentences(report))
    for path in written:
        console.print("[bold]Wrote[/]     ", str(path), soft_wrap=True)


def _sentences(report: Report) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Claim", report.claim)
    for index, sentence in enumerate(report.not_hidden):
        table.add_row("" if index else "Not hidden", sentence)
    return table


def _traffic(report: Report) -> Table:
    traffic = report.traffic
    protocols = ", denoising with ".join(part.spec.name for part in report.parts)
    table = Table(title=f"{protocols} on {report.model_name}", title_justify="left")
    table.add_column("cloud")
    table.add_column("saw")
    between = ("to clouds MB",) if any(traffic.between_bytes) else ()
    for heading in ("requests", "sent MB", "received MB", *between):
        table.add_column(heading, justify="right")
    for index, name in enumerate(traffic.clouds):
        table.add_row(name, report.seen_by(index), *_numbers(report, [index]))
    if len(traffic.clouds) > 1:
        table.add_section()
        table.add_row("all", "", *_numbers(report, range(len(traffic.clouds))))
    return table


def _numbers(report: Report, clouds: Sequence[int]) -> tuple[str, ...]:
    """Requests and megabytes; those that clouds sent each other only where they did."""
    tallies = [report.traffic.tally(i) for i in clouds]
    between = report.traffic.between_bytes
    found = (
        f"{sum(t.requests for t in tallies):,}",
        f"{sum(t.sent_bytes for t in tallies) / 1e6:.2f}",
        f"{sum(t.received_bytes for t in tallies) / 1e6:.2f}",
    )
    return (*found, f"{sum(between[i] for i in clouds) / 1e6:.2f}") if any(between) else found
