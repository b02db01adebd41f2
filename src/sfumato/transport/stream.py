"""What both ends of a gRPC stream agree on: its name, its options, and messages as runs of frames."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from sfumato.errors import WireError
from sfumato.wire.codec import MAX_HEADER_BYTES, Described, Encoded, describe
from sfumato.wire.frame import CHUNK_BYTES, cut, read_frame, write_frame

SERVICE = "sfumato.v1.Cloud"
METHOD = "Session"
PEER_METHOD = "Meet"
"""Opened by another cloud, never by a client."""
TOKEN_KEY = "sfumato-token"
"""Call metadata that carries the access token, once, when the stream opens."""
ACCEPTED_KEY = "sfumato-accepted"
"""Metadata that a cloud sends back at once when it opens the session; its absence means no."""

_MAX_FRAME_BYTES = 2 * CHUNK_BYTES + MAX_HEADER_BYTES

ReadFrame = Callable[[], Awaitable[object]]
WriteFrame = Callable[[bytes], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class KeepAlive:
    """How soon a peer that is frozen or cut off is noticed: after about the sum of both."""

    interval_seconds: float = 10.0
    """Silence before a ping is sent."""
    timeout_seconds: float = 5.0
    """Silence after a ping before the peer counts as gone."""


def stream_options(keep_alive: KeepAlive) -> list[tuple[str, int]]:
    """gRPC options for either end.

    A frozen peer is noticed only with ``http2.ping_timeout_ms``; the documented keep-alive options alone did
    not notice one in 22 seconds. Retries and proxies are off: a session is bound to one cloud and must not
    move.
    """
    interval, timeout = round(keep_alive.interval_seconds * 1e3), round(keep_alive.timeout_seconds * 1e3)
    return [
        ("grpc.max_send_message_length", _MAX_FRAME_BYTES),
        ("grpc.max_receive_message_length", _MAX_FRAME_BYTES),
        ("grpc.keepalive_time_ms", interval),
        ("grpc.keepalive_timeout_ms", timeout),
        ("grpc.http2.ping_timeout_ms", timeout),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", interval // 2),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        ("grpc.so_reuseport", 0),
    ]


class Received(NamedTuple):
    """One message off a stream, sizes checked, not yet decoded."""

    seq: int
    header: memoryview
    data: bytearray
    described: Described
    framed_bytes: int


async def send(write: WriteFrame, seq: int, encoded: Encoded) -> int:
    """Writes one message as frames and returns the bytes that they took."""
    sent, header = 0, encoded.header
    for piece in cut(encoded.buffers):
        frame = write_frame(seq, header, piece)
        header = b""
        sent += len(frame)
        await write(frame)
    return sent


async def receive(read: ReadFrame, *, max_data_bytes: int) -> Received | None:
    """Reads the frames of one message; ``None`` when the stream ended before the first.

    Memory is taken once, for exactly the bytes that a checked header announced.

    Raises:
        WireError: not frames, more data than announced or allowed, or an end in the middle.
    """
    raw = await read()
    if not isinstance(raw, bytes):
        return None
    first = read_frame(raw)
    described = describe(first.header, max_data_bytes=max_data_bytes)
    data = bytearray(described.data_bytes)
    room, at, framed, frame = memoryview(data), 0, len(raw), first
    while True:
        chunk = frame.data
        if at + len(chunk) > len(data):
            raise WireError("a message has more data than it announced; it was altered")
        room[at : at + len(chunk)] = chunk
        at += len(chunk)
        if at == len(data):
            return Received(first.seq, first.header, data, described, framed)
        raw = await read()
        if not isinstance(raw, bytes):
            raise WireError("the stream ended inside a message; it was truncated")
        frame = read_frame(raw)
        framed += len(raw)
        if frame.seq != first.seq or len(frame.header) or not len(frame.data):
            raise WireError("a message goes on with a frame of another one; the peer is out of step")
