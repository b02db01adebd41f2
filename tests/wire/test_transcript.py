from pathlib import Path

import pytest
import torch
from test_codec import pack, sample

from sfumato.errors import WireError
from sfumato.wire.codec import encoded_size
from sfumato.wire.messages import Refusal
from sfumato.wire.transcript import Direction, Transcript, TranscriptWriter


@pytest.fixture
def written(tmp_path: Path) -> Path:
    writer = TranscriptWriter(tmp_path / "cloud-1.transcript")
    writer.write(Direction.TO_CLOUD, 0.25, sample())
    writer.write(Direction.FROM_CLOUD, 0.5, Refusal(error="E", sentence="no"))
    writer.write(Direction.TO_CLOUD, 0.75, sample(strip=torch.zeros(0, 3), extra=None))
    writer.close()
    return tmp_path / "cloud-1.transcript"


def test_transcripts_are_readable_without_the_messages_classes(written: Path) -> None:
    transcript = Transcript.read(written)
    first, second, third = transcript.entries
    assert not transcript.is_truncated
    assert [e.direction for e in transcript.entries] == [Direction.TO_CLOUD, Direction.FROM_CLOUD, Direction.TO_CLOUD]
    assert [e.seconds for e in transcript.entries] == [0.25, 0.5, 0.75]
    assert first.kind == "Sample"
    assert first.size_bytes == encoded_size(sample())
    assert first.values == {"step": 3, "scale": 0.5, "last": False, "name": "é", "sizes": [1, 2]}
    assert list(first.tensors) == ["strip", "named", "extra"]
    assert first.tensors["named"] is None
    torch.testing.assert_close(first.tensors["strip"], sample().strip, rtol=0, atol=0)
    assert second.values == {"error": "E", "sentence": "no"}
    assert third.tensors["strip"] is not None
    assert third.tensors["strip"].shape == (0, 3)


def test_records_are_the_exact_bytes_of_the_stream(written: Path) -> None:
    header, data = pack(sample())
    content = written.read_bytes()
    assert header in content
    assert bytes(data) in content
    assert content.index(bytes(data)) % 64 == 0


def test_every_truncation_is_noticed(written: Path, tmp_path: Path) -> None:
    content = written.read_bytes()
    lengths = set()
    for end in range(21, len(content)):
        cut = tmp_path / "cut"
        cut.write_bytes(content[:end])
        transcript = Transcript.read(cut)
        lengths.add(len(transcript.entries))
        assert transcript.is_truncated or len(transcript.entries) < 3
    assert lengths == {0, 1, 2}


def test_altered_transcripts_are_refused(written: Path) -> None:
    content = bytearray(written.read_bytes())
    content[content.index(bytes(pack(sample())[1])) + 5] ^= 1
    written.write_bytes(content)
    with pytest.raises(WireError, match="damaged after 0 messages"):
        Transcript.read(written)
    written.write_bytes(b"something else")
    with pytest.raises(WireError, match="not a transcript"):
        Transcript.read(written)


def test_transcripts_are_private_and_never_overwritten(written: Path) -> None:
    assert written.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        TranscriptWriter(written)
