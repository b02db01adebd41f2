import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sfumato.wire.frame
from sfumato.errors import WireError
from sfumato.wire.frame import CHUNK_BYTES, cut, framed_size, read_frame, write_frame

SEQ = st.integers(1, 2**64 - 1)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The classes that protoc makes of ``frame.proto``."""
    protoc = pytest.importorskip("grpc_tools.protoc")
    out = tmp_path_factory.mktemp("proto")
    source = Path(sfumato.wire.frame.__file__).parent
    assert protoc.main(["protoc", f"-I{source}", f"--python_out={out}", str(source / "frame.proto")]) == 0
    spec = importlib.util.spec_from_file_location("frame_pb2", out / "frame_pb2.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["frame_pb2"] = module
    spec.loader.exec_module(module)
    return module


@given(SEQ, st.binary(max_size=300), st.lists(st.binary(max_size=300), max_size=4))
def test_frames_are_protobuf(generated: ModuleType, seq: int, header: bytes, pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    ours = write_frame(seq, header, [memoryview(p) for p in pieces])
    theirs = generated.Frame(seq=seq, header=header, data=data)
    assert ours == theirs.SerializeToString(deterministic=True)
    assert generated.Frame.FromString(ours) == theirs
    frame = read_frame(ours)
    assert (frame.seq, bytes(frame.header), bytes(frame.data)) == (seq, header, data)


@given(SEQ, st.binary(max_size=40), st.data())
def test_truncated_frames(seq: int, header: bytes, data: st.DataObject) -> None:
    whole = write_frame(seq, header, [memoryview(b"some data")])
    short = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        frame = read_frame(short)
    except WireError:
        return
    assert len(frame.data) == 0


@given(st.binary(max_size=60))
def test_noise_raises_wire_errors_only(noise: bytes) -> None:
    try:
        frame = read_frame(noise)
    except WireError:
        return
    assert len(frame.header) + len(frame.data) <= len(noise)


@pytest.mark.parametrize(
    "sizes", [[], [0], [1], [CHUNK_BYTES], [CHUNK_BYTES, 64], [64, CHUNK_BYTES - 64], [3 * CHUNK_BYTES + 5], [0, 7, 0]]
)
def test_cut_keeps_every_byte_in_order(sizes: list[int]) -> None:
    buffers = [memoryview(bytes([i + 1]) * size) for i, size in enumerate(sizes)]
    pieces = [b"".join(piece) for piece in cut(buffers)]
    assert b"".join(pieces) == b"".join(buffers)
    assert all(len(p) == CHUNK_BYTES for p in pieces[:-1])
    assert len(pieces[-1]) <= CHUNK_BYTES
    header = b"h" * 200
    framed = [write_frame(9, header if i == 0 else b"", [memoryview(p)]) for i, p in enumerate(pieces)]
    assert framed_size(len(header), sum(sizes)) == sum(map(len, framed))
