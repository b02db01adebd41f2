"""The shaped link, against sums done by hand."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from time import monotonic

import pytest

from sfumato.bench.pacing import Forwarded, Pacer, Proxy
from sfumato.cost.link import Link


def test_bytes_leave_at_the_rate_and_arrive_half_a_round_trip_later():
    # 8 Mbit/s are a megabyte a second.
    pacer = Pacer(8, 0.01)
    assert pacer.hand_over(500_000, 10.0) == pytest.approx((10.5, 10.51))


def test_all_connections_share_the_rate():
    pacer, chunk = Pacer(81.14, 0.01), 16 << 10
    left = [pacer.hand_over(chunk, 0.0)[0] for _ in range(200)]
    assert left[-1] == pytest.approx(200 * chunk * 8 / 81.14e6)
    assert pacer.num_bytes == 200 * chunk


def test_time_in_which_nothing_was_sent_is_lost():
    pacer = Pacer(8, 0.0)
    pacer.hand_over(1_000_000, 0.0)
    assert pacer.hand_over(1_000_000, 5.0)[0] == pytest.approx(6.0)


@contextmanager
def echoing() -> Iterator[int]:
    """A server that sends back what one connection sends; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while piece := connection.recv(1 << 16):
                    connection.sendall(piece)

        thread = Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(20)
        assert not thread.is_alive()


def received(connection: socket.socket, size: int) -> bytes:
    out = b""
    while len(out) < size and (piece := connection.recv(1 << 16)):
        out += piece
    return out


def test_a_real_link_is_never_faster_than_stated():
    payload = bytes(range(256)) * 400
    size = len(payload)
    with (
        echoing() as one,
        echoing() as other,
        Proxy(Link(up_mbit=16, down_mbit=32, rtt_milliseconds=40), [one, other]) as proxy,
    ):
        connections = [socket.create_connection(("127.0.0.1", port), 20) for port in proxy.ports]
        started = monotonic()
        for connection in connections:
            connection.sendall(payload)
        assert [received(c, size) for c in connections] == [payload, payload]
        seconds = monotonic() - started
        counted = proxy.forwarded()
        for connection in connections:
            connection.close()
    assert counted == Forwarded(sent_bytes=2 * size, received_bytes=2 * size)
    # Both ways overlap, so the upload and one round trip are the least; sums by hand: 0.1024 s and 0.04 s.
    assert 2 * size * 8 / 16e6 + 0.04 <= seconds
