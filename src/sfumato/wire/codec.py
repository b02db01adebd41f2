"""Messages to bytes and back: a small typed header, then raw little-endian tensors.

The header is a msgpack array ``[version, kind, values, tensors, digest]``: plain values in field order, and
for each tensor its dtype code and dimensions. The data are the tensors' bytes, each starting at a multiple of
64. The digest (xxh3 over values and data) catches damage and programming errors; protection against people is
TLS's.

Nothing here can run code from a peer, and sizes are checked before memory is taken.
"""

import sys
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from math import prod
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

import msgpack
import torch
import xxhash
from torch import Tensor

from sfumato.errors import WireError
from sfumato.wire.frame import framed_size
from sfumato.wire.messages import Message

WIRE_VERSION = 1
MAX_HEADER_BYTES = 64 << 10
MAX_DATA_BYTES = 1 << 30
"""Default cap on one message's tensors. A 4096 x 4096 feature map strip is far below it."""

_ALIGN = 64
_MAX_DIMS = 8
_DTYPES = {
    "f2": torch.float16,
    "bf": torch.bfloat16,
    "f4": torch.float32,
    "f8": torch.float64,
    "i1": torch.int8,
    "u1": torch.uint8,
    "i4": torch.int32,
    "i8": torch.int64,
    "b1": torch.bool,
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}

if sys.byteorder != "little":
    raise ImportError("sfumato's wire format is little-endian; this machine is not")

AnyMessage = TypeVar("AnyMessage", bound=Message)


class Encoded(NamedTuple):
    """A message as bytes: its header, and its tensors as views of their own memory."""

    header: bytes
    buffers: list[memoryview]


Shape = tuple[torch.dtype, tuple[int, ...]]


class Described(NamedTuple):
    """A checked header: what the data will be, before any of it is there."""

    kind: str
    values: tuple[Any, ...]
    """Plain values in field order."""
    slots: tuple[Shape | None, ...]
    """Dtype and dimensions of each tensor in field order; ``None`` where an optional tensor is absent."""
    data_bytes: int
    digest: bytes


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def data_size(tensors: "Iterable[tuple[tuple[int, ...], torch.dtype]]") -> int:
    """Bytes that tensors of such shapes and formats take as the data of one message."""
    return sum(_padded(prod(shape) * dtype.itemsize) for shape, dtype in tensors)


def tensor_fields(kind: type[Message]) -> tuple[str, ...]:
    """Names of the fields of a kind that hold tensors, in wire order."""
    return _tensor_fields(kind)  # type: ignore[arg-type]  # mypy takes the instances' __hash__ for the class's


@cache
def _tensor_fields(kind: type[Message]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind) if _holds_tensor(f.type))


def _holds_tensor(annotation: object) -> bool:
    members = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return any(isinstance(m, type) and (issubclass(m, Tensor) or hasattr(m, "dim_str")) for m in members)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _header(message: Message, digest: bytes) -> bytes:
    kind = type(message)
    values: list[object] = []
    tensors: list[object] = []
    for f in fields(kind):
        value = getattr(message, f.name)
        if isinstance(value, Tensor):
            tensors.append([_CODES[value.dtype], *value.shape])
        elif f.name in tensor_fields(kind):
            tensors.append(None)
        else:
            values.append(_plain(value))
    return msgpack.packb([WIRE_VERSION, kind.__name__, values, tensors, digest])


def _sealed(message: Message, buffers: Iterable[memoryview]) -> bytes:
    return _header(message, _digest(_header(message, b""), buffers))


def _tensors(message: Message) -> Iterable[Tensor]:
    for f in fields(message):
        value = getattr(message, f.name)
        if isinstance(value, Tensor):
            yield value


def _data_bytes(message: Message) -> int:
    return sum(_padded(t.numel() * t.element_size()) for t in _tensors(message))


def encoded_size(message: Message) -> int:
    """Bytes that ``message`` takes on the stream, frames included; tensors may be on the meta device."""
    return framed_size(len(_header(message, bytes(8))), _data_bytes(message))


def _bytes_of(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")


def encode(message: Message) -> Encoded:
    """Turns a message into a header and views of its tensors' memory, without copying contiguous CPU tensors.

    Raises:
        WireError: the message is larger than any receiver accepts.
    """
    if (size := _data_bytes(message)) > MAX_DATA_BYTES:
        raise WireError(
            f"{type(message).__name__} is {size} bytes; one message may hold {MAX_DATA_BYTES}: "
            "use more clouds, a smaller picture or fewer pictures at once"
        )
    buffers: list[memoryview] = []
    for tensor in _tensors(message):
        view = _bytes_of(tensor)
        buffers.append(view)
        if gap := _padded(len(view)) - len(view):
            buffers.append(memoryview(bytes(gap)))
    header = _sealed(message, buffers)
    if len(header) > MAX_HEADER_BYTES:
        raise WireError(
            f"the plain values of {type(message).__name__} take {len(header)} bytes; "
            f"one message may hold {MAX_HEADER_BYTES}"
        )
    return Encoded(header, buffers)


def _digest(undigested: bytes, buffers: Iterable[memoryview]) -> bytes:
    state = xxhash.xxh3_64(undigested)
    for buffer in buffers:
        state.update(buffer)
    return state.digest()


def describe(header: bytes | memoryview, *, max_data_bytes: int = MAX_DATA_BYTES) -> Described:
    """Checks a header before any memory is taken for the data it announces.

    Raises:
        WireError: not a header, another wire version, or more data than ``max_data_bytes``.
    """
    if not 0 < len(header) <= MAX_HEADER_BYTES:
        raise WireError(f"a header has {len(header)} bytes; it must have 1 to {MAX_HEADER_BYTES}")
    try:
        unpacked = msgpack.unpackb(header)
        version, kind, values, tensors, digest = unpacked
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise WireError("a header cannot be read; the message was truncated or altered") from error
    if version != WIRE_VERSION:
        raise WireError(f"the peer speaks wire version {version!r}, this side {WIRE_VERSION}: install the same sfumato")
    if not (isinstance(kind, str) and isinstance(values, list) and isinstance(tensors, list)):
        raise WireError("a header has fields of the wrong type; the message was altered")
    if not isinstance(digest, bytes):
        raise WireError("a header has no digest; the message was altered")
    slots = tuple(None if entry is None else _shape(entry) for entry in tensors)
    size = sum(_padded(prod(slot[1]) * slot[0].itemsize) for slot in slots if slot)
    if size > max_data_bytes:
        raise WireError(f"{kind[:80]!r} announces {size} bytes of tensors; at most {max_data_bytes} may come")
    return Described(kind, tuple(values), slots, size, digest)


def is_intact(described: Described, data: memoryview) -> bool:
    """Whether the digest of a described message fits its values and data; for readers without its class."""
    tensors = [slot and [_CODES[slot[0]], *slot[1]] for slot in described.slots]
    header = msgpack.packb([WIRE_VERSION, described.kind, described.values, tensors, b""])
    return _digest(header, [data]) == described.digest


def _shape(entry: object) -> Shape:
    if isinstance(entry, list) and 0 < len(entry) <= 1 + _MAX_DIMS and isinstance(entry[0], str):
        code, *dims = entry
        known = code in _DTYPES and all(type(d) is int and 0 <= d < 1 << 32 for d in dims)
        if known and prod(max(d, 1) for d in dims) < 1 << 60:
            return _DTYPES[code], tuple(dims)
    raise WireError("a header describes a tensor of unknown dtype or shape; the message was altered")


def decode(
    header: bytes | memoryview,
    data: bytearray | memoryview,
    kinds: Iterable[type[AnyMessage]],
    *,
    max_data_bytes: int = MAX_DATA_BYTES,
) -> AnyMessage:
    """Rebuilds a message of one of ``kinds``; its tensors share ``data``'s memory.

    Raises:
        WireError: truncated, altered, oversized, of another version, or of a kind not listed.
    """
    described = describe(header, max_data_bytes=max_data_bytes)
    kind = next((k for k in kinds if k.__name__ == described.kind), None)
    if kind is None:
        raise WireError(f"a message of kind {described.kind[:80]!r} does not belong here; the peer is out of step")
    message = _build(kind, described, unpack_tensors(described, data))
    if _sealed(message, [memoryview(data)]) != header:
        raise WireError(f"a {described.kind} fails its digest; the message was altered")
    return message


def _build(kind: type[AnyMessage], described: Described, tensors: list[Tensor | None]) -> AnyMessage:
    names = tensor_fields(kind)
    plain = [f for f in fields(kind) if f.name not in names]
    if len(names) != len(tensors) or len(plain) != len(described.values):
        raise WireError(f"a {described.kind} has another number of fields; the message was altered")
    typed = {f.name: _typed(value, f.type) for f, value in zip(plain, described.values, strict=True)}
    try:
        return kind(**typed, **dict(zip(names, tensors, strict=True)))
    except (TypeError, ValueError) as error:
        raise WireError(f"a {described.kind} holds values that cannot be; the message was altered") from error


def _typed(value: object, annotation: object) -> object:
    if get_origin(annotation) is tuple:
        item = get_args(annotation)[0]
        if isinstance(value, list) and all(type(v) is item for v in value):
            return tuple(value)
    elif type(value) is annotation:
        return value
    raise WireError("a message has a field of the wrong type; the message was altered")


def unpack_tensors(described: Described, data: bytearray | memoryview) -> list[Tensor | None]:
    """Cuts received data into the tensors that the header announced, ``None`` for each that is absent.

    Raises:
        WireError: more or less data than announced.
    """
    if len(data) != described.data_bytes:
        raise WireError(
            f"a {described.kind[:80]!r} has {len(data)} bytes of tensors and announced "
            f"{described.data_bytes}; the message was truncated"
        )
    out: list[Tensor | None] = []
    at = 0
    for slot in described.slots:
        if slot is None:
            out.append(None)
            continue
        dtype, dims = slot
        if count := prod(dims):
            out.append(torch.frombuffer(data, dtype=dtype, count=count, offset=at).reshape(dims))
        else:
            out.append(torch.empty(dims, dtype=dtype))
        at += _padded(count * dtype.itemsize)
    return out
