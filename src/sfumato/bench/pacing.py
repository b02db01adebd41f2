"""A slow link on loopback: a proxy that forwards bytes at a link's rates and holds them for half a round trip.

Every connection through it shares one link, as all clouds share the client's. It paces the bytes of TCP streams, TLS
records and HTTP/2 frames included. Not in it: lost packets, TCP's own slow start and its headers. HTTP/2's windows are,
because client and cloud keep them across the proxy.

Run by :class:`Proxy` as ``python -m sfumato.bench.pacing``; it ends with the pipe at its stdin.
"""

import asyncio
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Self

from sfumato.cost.link import Link, parse_link
from sfumato.errors import TransportError

_CHUNK_BYTES = 16 << 10
"""Forwarded at once, so that clouds share the link in turn."""
_MAX_CHUNKS = 1 << 10
"""Under way on one connection; far more than a link holds, unless the receiver does not read."""
_QUEUE_SECONDS = 0.01
"""How far ahead of the link a connection may be read: a router's queue. Without it a late wake-up wastes the link."""
_STOP_SECONDS = 5.0


class Pacer:
    """One direction of a link: says when bytes arrive that are handed over now.

    Args:
        mbit: 10**6 bits a second.
        delay_seconds: one way.
    """

    def __init__(self, mbit: float, delay_seconds: float):
        self._seconds_per_byte = 8 / (mbit * 1e6)
        self._delay_seconds = delay_seconds
        self._free_at = 0.0
        self.num_bytes = 0
        """Handed over so far."""

    def hand_over(self, num_bytes: int, now: float) -> tuple[float, float]:
        """Puts bytes behind those that the link still has to send.

        Returns:
            When the last of them has left, and when it arrives.
        """
        self.num_bytes += num_bytes
        self._free_at = max(self._free_at, now) + num_bytes * self._seconds_per_byte
        return self._free_at, self._free_at + self._delay_seconds


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pacer: Pacer) -> None:
    """Forwards one direction of one connection to its end, and then closes the other side."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MAX_CHUNKS)
    reading = asyncio.ensure_future(_send_off(reader, under_way, pacer))
    try:
        while True:
            arrives_at, chunk = await under_way.get()
            await asyncio.sleep(max(0.0, arrives_at - monotonic()))
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        return
    finally:
        reading.cancel()
        writer.close()


async def _send_off(
    reader: asyncio.StreamReader, under_way: "asyncio.Queue[tuple[float, bytes]]", pacer: Pacer
) -> None:
    """Reads no faster than the link sends; no bytes at all are the end."""
    chunk = b"first"
    while chunk:
        try:
            chunk = await reader.read(_CHUNK_BYTES)
        except ConnectionError:
            chunk = b""
        left_at, arrives_at = pacer.hand_over(len(chunk), monotonic())
        await under_way.put((arrives_at, chunk))
        await asyncio.sleep(max(0.0, left_at - monotonic() - _QUEUE_SECONDS))


async def _serve(link: Link, ports: Sequence[int]) -> None:
    delay = link.rtt_milliseconds / 2e3
    up, down = Pacer(link.up_mbit, delay), Pacer(link.down_mbit, delay)

    async def listen(port: int) -> asyncio.Server:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                cloud_reader, cloud_writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                writer.close()
                return
            await asyncio.gather(forward(reader, cloud_writer, up), forward(cloud_reader, writer, down))

        return await asyncio.start_server(connected, "127.0.0.1", 0)

    servers = [await listen(port) for port in ports]
    _say({"ports": [server.sockets[0].getsockname()[1] for server in servers]})
    questions = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    while await questions.readline():
        _say({"sent_bytes": up.num_bytes, "received_bytes": down.num_bytes})


def _say(found: dict[str, object]) -> None:
    os.write(1, json.dumps(found).encode() + b"\n")


@dataclass(frozen=True, kw_only=True)
class Forwarded:
    """Bytes of TCP streams that the link has carried; sent is towards the clouds."""

    sent_bytes: int
    received_bytes: int


def main() -> None:
    """Entry of ``python -m sfumato.bench.pacing UP/DOWN/RTT PORT...``."""
    # epoll's time-outs are whole milliseconds, which is too coarse for delays of ten.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_serve(parse_link(sys.argv[1]), [int(port) for port in sys.argv[2:]]))


class Proxy:
    """A process that shapes the way to clouds on this machine; use as a context manager."""

    def __init__(self, link: Link, ports: Sequence[int]):
        """Starts it.

        Args:
            link: as the client sees it.
            ports: of the clouds, on loopback.
        """
        rates = f"{link.up_mbit}/{link.down_mbit}/{link.rtt_milliseconds}"
        command = [sys.executable, "-m", "sfumato.bench.pacing", rates, *map(str, ports)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.ports: list[int] = self._heard()["ports"]
        except BaseException:
            self.close()
            raise

    def _heard(self) -> dict[str, "list[int]"]:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise TransportError("the pacing proxy ended before its order was done")
        return json.loads(line)

    def forwarded(self) -> Forwarded:
        """What has passed so far."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return Forwarded(**self._heard())  # type: ignore[arg-type]

    def close(self) -> None:
        """Ends the process, with force if need be."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


if __name__ == "__main__":
    main()
