"""``sfumato bench transport``: our channel beside plain TLS sockets, in one run, round by round in turn."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import Annotated

import typer

NUM_CLOUDS = 2
SIZES = {"1 KB": 1 << 10, "64 KB": 64 << 10, "1 MB": 1 << 20, "8 MB": 8 << 20}
_ROUNDS = {"1 KB": 200, "64 KB": 150, "1 MB": 60, "8 MB": 24}


@dataclass(frozen=True, kw_only=True)
class EchoTimes:
    """Seconds of each echo round of one size, on both ways."""

    label: str
    channel: list[float]
    sockets: list[float]
    codec: float
    """Mean seconds of a round that the client spent on encoding and decoding."""

    @property
    def ratio(self) -> float:
        """Median of the channel over median of the sockets."""
        return median(self.channel) / median(self.sockets)


def bench_transport(
    scale: Annotated[float, typer.Option(min=0.05, help="More or fewer rounds than usual.")] = 1.0,
) -> None:
    """Times echo rounds over two cloud processes: gRPC as in a run, and plain blocking TLS sockets.

    Both use certificates both ways and take turns in every round, so that other load hits both alike.
    """
    from rich.console import Console
    from rich.table import Table

    rows = measure_echoes(scale)
    table = Table(title=f"Echo round over {NUM_CLOUDS} clouds on loopback, TLS both ways, milliseconds")
    for heading in ("each way, each cloud", "channel p50", "p95", "of it codec", "sockets p50", "p95", "ratio", "MB/s"):
        table.add_column(heading, justify="right")
    for row in rows:
        moved = 2 * NUM_CLOUDS * SIZES[row.label] / 1e6
        table.add_row(
            row.label,
            f"{median(row.channel) * 1e3:.2f}",
            f"{_p95(row.channel) * 1e3:.2f}",
            f"{row.codec * 1e3:.2f}",
            f"{median(row.sockets) * 1e3:.2f}",
            f"{_p95(row.sockets) * 1e3:.2f}",
            f"{row.ratio:.2f}",
            f"{moved / median(row.channel):.0f}",
        )
    Console().print(table)


def _p95(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=20)[-1]


def measure_echoes(scale: float = 1.0) -> list[EchoTimes]:
    """Measures every size; the two ways alternate."""
    import torch

    from sfumato.bench.echo import ECHO_NURSERY, Echo
    from sfumato.bench.sockets import SocketClouds
    from sfumato.client.local_clouds import LocalClouds

    with ExitStack() as stack:
        clouds = stack.enter_context(LocalClouds("echo", NUM_CLOUDS, nursery=ECHO_NURSERY))
        sockets = stack.enter_context(SocketClouds(NUM_CLOUDS))
        channel = stack.enter_context(clouds.open_channel())
        rows = []
        for label, size in SIZES.items():
            payload = torch.randint(0, 256, (size,), dtype=torch.uint8)
            messages = [Echo(payload=payload)] * NUM_CLOUDS
            raw = payload.numpy().tobytes()
            before = channel.traffic.codec_seconds
            times = _alternate(
                max(5, round(_ROUNDS[label] * scale)),
                lambda m=messages: channel.exchange(m, Echo),  # type: ignore[misc]
                lambda r=raw: sockets.exchange(r),  # type: ignore[misc]
            )
            codec = (channel.traffic.codec_seconds - before) / (len(times[0]) + 2)
            rows.append(EchoTimes(label=label, channel=times[0], sockets=times[1], codec=codec))
        return rows


def _alternate(rounds: int, *ways: Callable[[], object]) -> tuple[list[float], ...]:
    """Times each way ``rounds`` times, one after the other, after two rounds that do not count."""
    times: tuple[list[float], ...] = tuple([] for _ in ways)
    for number in range(-2, rounds):
        for way, kept in zip(ways, times, strict=True):
            started = perf_counter()
            way()
            if number >= 0:
                kept.append(perf_counter() - started)
    return times
