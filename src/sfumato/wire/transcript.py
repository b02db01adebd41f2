"""Transcripts: every message that one cloud saw or said, in order, with its size and time, as a file.

A transcript file is a line of magic and then records. A record is a length (4 bytes, little-endian), a msgpack
prefix of that length, the message's header, zeros up to a multiple of 64, and the message's tensors, both exactly
as encoded for the stream. The prefix keeps the names of the fields, so that a reader needs none of the classes.
"""

import mmap
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from struct import Struct
from typing import IO, Any, Self

import msgpack
from torch import Tensor

from sfumato.errors import WireError
from sfumato.wire.codec import Described, describe, encode, is_intact, tensor_fields, unpack_tensors
from sfumato.wire.frame import framed_size
from sfumato.wire.messages import Message, field_names

MAGIC = b"sfumato transcript 1\n"
_LENGTH = Struct("<I")
_ALIGN = 64


class Direction(StrEnum):
    """Which way a message went."""

    TO_CLOUD = "to_cloud"
    FROM_CLOUD = "from_cloud"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One message of a transcript."""

    direction: Direction
    seconds: float
    """Since the recording began."""
    size_bytes: int
    """On the stream, frames included."""
    kind: str
    values: dict[str, Any]
    """Plain fields by name; tuples have become lists."""
    tensors: dict[str, Tensor | None]
    """Tensor fields by name; ``None`` where an optional one was absent."""


class TranscriptWriter:
    """Appends to the transcript of one cloud; readable by nobody but its owner."""

    def __init__(self, path: Path):
        """Makes the file.

        Raises:
            FileExistsError: there is one; transcripts are never overwritten.
        """
        path.touch(mode=0o600, exist_ok=False)
        self._file: IO[bytes] = path.open("wb")
        self._file.write(MAGIC)

    def write(self, direction: Direction, seconds: float, message: Message) -> None:
        """Adds one message."""
        header, buffers = encode(message)
        kind = type(message)
        tensors = tensor_fields(kind)
        plain = [name for name in field_names(kind) if name not in tensors]
        size = sum(len(b) for b in buffers)
        framed = framed_size(len(header), size)
        prefix = msgpack.packb([direction.value, seconds, framed, plain, list(tensors), len(header), size])
        at = self._file.tell() + _LENGTH.size + len(prefix) + len(header)
        self._file.writelines([_LENGTH.pack(len(prefix)), prefix, header, bytes(-at % _ALIGN), *buffers])

    def flush(self) -> None:
        """Hands what was written to the system, so that it outlives this process."""
        self._file.flush()

    def close(self) -> None:
        """Ends the transcript; safe to call twice."""
        self._file.close()


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """What one cloud saw and said."""

    entries: tuple[Entry, ...]
    is_truncated: bool
    """The run was killed in the middle of a record, which is left out."""

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Reads a transcript; its tensors are views of the mapped file, loaded when touched.

        Raises:
            WireError: not a transcript, of another version, or altered.
        """
        with Path(path).open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise WireError(f"{path} is not a transcript of this version of sfumato")
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        entries: list[Entry] = []
        at = len(MAGIC)
        while at < len(content):
            try:
                record = _read_record(content, at)
            except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
                raise WireError(f"{path} is damaged after {len(entries)} messages") from error
            if record is None:
                return cls(entries=tuple(entries), is_truncated=True)
            entry, at = record
            entries.append(entry)
        return cls(entries=tuple(entries), is_truncated=False)


def _read_record(content: memoryview, at: int) -> tuple[Entry, int] | None:
    """One record and where it ends; ``None`` when the file ends first."""
    if at + _LENGTH.size > len(content):
        return None
    (length,) = _LENGTH.unpack_from(content, at)
    start = at + _LENGTH.size + length
    if start > len(content):
        return None
    direction, seconds, framed, plain, tensors, header_bytes, data_bytes = msgpack.unpackb(
        content[start - length : start]
    )
    data_at = start + header_bytes + -(start + header_bytes) % _ALIGN
    end = data_at + data_bytes
    if end > len(content):
        return None
    header, data = content[start : start + header_bytes], content[data_at:end]
    described = describe(header, max_data_bytes=data_bytes)
    if not is_intact(described, data):
        raise ValueError("digest")
    return _entry(Direction(direction), seconds, framed, plain, tensors, described, data), end


def _entry(
    direction: Direction,
    seconds: float,
    framed: int,
    plain: list[str],
    tensors: list[str],
    described: Described,
    data: memoryview,
) -> Entry:
    return Entry(
        direction=direction,
        seconds=seconds,
        size_bytes=framed,
        kind=described.kind,
        values=dict(zip(plain, described.values, strict=True)),
        tensors=dict(zip(tensors, unpack_tensors(described, data), strict=True)),
    )
