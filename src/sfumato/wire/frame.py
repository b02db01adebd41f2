"""Frames: how an encoded message is cut for a stream.

Bytewise the protobuf message of ``frame.proto`` (a test holds it to the generated class), written by hand
because that saves two copies of every tensor (measured in ``docs/design/0002-transport.md``)::

    message Frame { fixed64 seq = 1; bytes header = 2; bytes data = 3; }

The first frame of a message carries the header and the first chunk of data; the following ones carry data
only.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sfumato.errors import WireError

CHUNK_BYTES = 1 << 20
"""Data bytes in one frame. 1 MiB was the fastest of 256 KiB to 4 MiB on loopback with TLS."""

_SEQ_TAG, _HEADER_TAG, _DATA_TAG = 0x09, 0x12, 0x1A
_SEQ_BYTES = 9


class Frame(NamedTuple):
    """One protobuf message on the stream."""

    seq: int
    header: memoryview
    data: memoryview


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint_size(value: int) -> int:
    return max(1, -(-value.bit_length() // 7))


def _read_varint(buffer: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(buffer) or shift > 35:
            raise WireError("a frame ends inside a length; the message was truncated")
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _field_size(length: int) -> int:
    return 1 + _varint_size(length) + length if length else 0


def framed_size(header_bytes: int, data_bytes: int) -> int:
    """Bytes that a message takes on the stream, all its frames together."""
    first = min(data_bytes, CHUNK_BYTES)
    size = _SEQ_BYTES + _field_size(header_bytes) + _field_size(first)
    full, rest = divmod(data_bytes - first, CHUNK_BYTES)
    size += full * (_SEQ_BYTES + _field_size(CHUNK_BYTES))
    return size + (_SEQ_BYTES + _field_size(rest) if rest else 0)


def write_frame(seq: int, header: bytes, pieces: list[memoryview]) -> bytes:
    """Serialises one frame; ``pieces`` are joined into its data field without another copy."""
    parts: list[bytes | memoryview] = [bytes([_SEQ_TAG]) + seq.to_bytes(8, "little")]
    if header:
        parts += [bytes([_HEADER_TAG]) + _varint(len(header)), header]
    length = sum(len(p) for p in pieces)
    if length:
        parts += [bytes([_DATA_TAG]) + _varint(length), *pieces]
    return b"".join(parts)


def read_frame(buffer: bytes) -> Frame:
    """Parses one frame; header and data are slices of ``buffer``, not copies.

    Raises:
        WireError: the bytes are not a frame.
    """
    view, at = memoryview(buffer), 0
    seq, header, data = 0, view[:0], view[:0]
    while at < len(view):
        tag = view[at]
        at += 1
        if tag == _SEQ_TAG:
            seq, at = int.from_bytes(view[at : at + 8], "little"), at + 8
            continue
        if tag not in (_HEADER_TAG, _DATA_TAG):
            raise WireError("a frame holds an unknown field; the peer speaks another wire version")
        length, at = _read_varint(view, at)
        if at + length > len(view):
            raise WireError("a frame is shorter than it says; the message was truncated")
        if tag == _HEADER_TAG:
            header = view[at : at + length]
        else:
            data = view[at : at + length]
        at += length
    if at > len(view):
        raise WireError("a frame ends inside its sequence number; the message was truncated")
    return Frame(seq, header, data)


def cut(buffers: list[memoryview]) -> Iterator[list[memoryview]]:
    """Groups byte buffers into pieces of ``CHUNK_BYTES`` each, the last one shorter; at least one piece."""
    piece: list[memoryview] = []
    room = CHUNK_BYTES
    for buffer in buffers:
        while len(buffer):
            taken, buffer = buffer[:room], buffer[room:]
            piece.append(taken)
            room -= len(taken)
            if not room:
                yield piece
                piece, room = [], CHUNK_BYTES
    if piece or (room == CHUNK_BYTES and not any(len(b) for b in buffers)):
        yield piece
