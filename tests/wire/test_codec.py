from dataclasses import dataclass, fields

import msgpack
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

from sfumato.errors import WireError
from sfumato.wire.codec import MAX_HEADER_BYTES, decode, describe, encode, encoded_size, is_intact
from sfumato.wire.frame import framed_size
from sfumato.wire.messages import Hello, Message, Refusal, Welcome

DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int8,
    torch.uint8,
    torch.int32,
    torch.int64,
    torch.bool,
]


@dataclass(frozen=True, kw_only=True)
class Sample(Message):
    step: int
    scale: float
    last: bool
    name: str
    sizes: tuple[int, ...]
    strip: Tensor
    named: Float[Tensor, "rows columns"] | None
    extra: Tensor | None


def pack(message: Message) -> tuple[bytes, bytearray]:
    header, buffers = encode(message)
    return header, bytearray(b"".join(buffers))


def same_bits(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and a.shape == b.shape and bytes(raw(a)) == bytes(raw(b))


def raw(t: Tensor) -> bytes:
    return t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""


@st.composite
def tensors(draw: st.DrawFn, dims: st.SearchStrategy[list[int]] | None = None) -> Tensor:
    shape = draw(dims or st.lists(st.integers(0, 5), max_size=6))
    dtype = draw(st.sampled_from(DTYPES))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    if dtype == torch.bool:
        return torch.rand(shape, generator=generator) > 0.5
    return (torch.randn(shape, generator=generator) * 50).to(dtype)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    return Sample(
        step=draw(st.integers(-(2**63), 2**64 - 1)),
        scale=draw(st.floats()),
        last=draw(st.booleans()),
        name=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=50)),
        sizes=tuple(draw(st.lists(st.integers(0, 2**31), max_size=5))),
        strip=draw(tensors()),
        named=draw(st.none() | st.just(torch.zeros(2, 3))),
        extra=draw(st.none() | tensors()),
    )


@given(samples())
def test_round_trip(message: Sample) -> None:
    header, data = pack(message)
    back = decode(header, data, [Hello, Sample])
    for f in fields(Sample):
        sent, received = getattr(message, f.name), getattr(back, f.name)
        if isinstance(sent, Tensor) or sent is None:
            assert same_bits(sent, received)
        else:
            assert type(received) is type(sent)
            assert msgpack.packb(received) == msgpack.packb(sent)
    assert encoded_size(message) == framed_size(len(header), len(data))
    assert is_intact(describe(header), memoryview(data))


def test_transposed_and_meta_tensors_have_the_same_size_as_their_copies() -> None:
    strip = torch.randn(4, 6)
    message = Hello(
        package_version="1", protocol="plain", spec_json="{}", model_fingerprint="f", cloud_index=0, num_clouds=1
    )
    assert encoded_size(message) == framed_size(len(pack(message)[0]), 0)
    plain, turned, meta = (sample(strip=t) for t in (strip.t().contiguous(), strip.t(), strip.t().to("meta")))
    assert pack(plain) == pack(turned)
    assert encoded_size(meta) == encoded_size(plain)


def sample(**changes: object) -> Sample:
    values: dict[str, object] = {
        "step": 3,
        "scale": 0.5,
        "last": False,
        "name": "é",
        "sizes": (1, 2),
        "strip": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "named": None,
        "extra": torch.tensor([True, False]),
    }
    return Sample(**{**values, **changes})  # type: ignore[arg-type]


GOLDEN_HEADER = "9501a653616d706c659503cb3fe0000000000000c2a2c3a99201029393a266340203c092a2623102c408e4a0fdc29752ad8c"


def test_golden_bytes_of_wire_version_1() -> None:
    header, data = pack(sample())
    assert header.hex() == GOLDEN_HEADER
    strip = "000000000000803f0000004000004040000080400000a040"
    assert data.hex() == strip + "00" * 40 + "0100" + "00" * 62


@settings(max_examples=400)
@given(st.data())
def test_altered_bytes_raise_wire_errors_only(data: st.DataObject) -> None:
    header, body = pack(sample())
    place = data.draw(st.integers(0, len(header) + len(body) - 1))
    whole = bytearray(header) + body
    whole[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WireError):
        decode(bytes(whole[: len(header)]), whole[len(header) :], [Sample])


@given(st.data())
def test_truncated_messages(data: st.DataObject) -> None:
    header, body = pack(sample())
    with pytest.raises(WireError):
        decode(header[: data.draw(st.integers(0, len(header) - 1))], body, [Sample])
    with pytest.raises(WireError, match="truncated"):
        decode(header, body[: data.draw(st.integers(0, len(body) - 1))], [Sample])


@given(st.binary(max_size=200))
def test_noise_is_not_a_message(noise: bytes) -> None:
    with pytest.raises(WireError):
        decode(noise, bytearray(), [Sample])


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=12,
)


@settings(max_examples=400)
@given(PLAIN, PLAIN, st.sampled_from([b"12345678", 3, None]))
def test_well_formed_msgpack_of_the_wrong_shape(values: object, slots: object, digest: object) -> None:
    header = msgpack.packb([1, "Sample", values, slots, digest])
    with pytest.raises(WireError):
        decode(header, bytearray(), [Sample])


def test_huge_announcements_take_no_memory() -> None:
    for dims in ([2**31, 2**31], [2**32 - 1] * 8, [2**29]):
        header = msgpack.packb([1, "Sample", [], [["f4", *dims]], b""])
        with pytest.raises(WireError, match=r"announces|unknown"):
            describe(header)
    with pytest.raises(WireError, match="header has"):
        describe(b"\0" * (MAX_HEADER_BYTES + 1))
    with pytest.raises(WireError, match=r"at most 10 may come"):
        describe(pack(sample())[0], max_data_bytes=10)


def test_other_versions_and_kinds_are_named() -> None:
    header, body = pack(sample())
    unpacked = msgpack.unpackb(header)
    with pytest.raises(WireError, match="wire version 2, this side 1"):
        decode(msgpack.packb([2, *unpacked[1:]]), body, [Sample])
    with pytest.raises(WireError, match="'Sample' does not belong here"):
        decode(header, body, [Hello, Welcome])


def test_messages_too_large_for_any_receiver_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.wire.codec.MAX_DATA_BYTES", 100)
    with pytest.raises(WireError, match=r"Sample is 128 bytes; one message may hold 100"):
        encode(sample())
    with pytest.raises(WireError, match="plain values of Refusal"):
        encode(Refusal(error="E", sentence="x" * 70_000))


def test_received_tensors_share_the_received_memory() -> None:
    header, body = pack(sample())
    back = decode(header, body, [Sample])
    body[0:4] = b"\0\0\x80\x3f"
    assert back.strip[0, 0] == 1.0
