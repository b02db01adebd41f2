"""One contract for every channel."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from odd_clouds import Answer, Ask, OddSession, odd_clouds
from sfumato.errors import TransportError, Unsupported, WireError, WorkerError
from sfumato.transport.base import Channel
from sfumato.transport.grpc_client import GrpcChannel
from sfumato.transport.in_process import InProcessChannel
from sfumato.transport.part import PartChannel
from sfumato.transport.recording import Recording, RecordingChannel
from sfumato.wire.frame import CHUNK_BYTES
from sfumato.wire.messages import Hello
from sfumato.wire.transcript import Direction

SIZES = [0, 1, 1000, CHUNK_BYTES // 4 - 16, CHUNK_BYTES // 4, CHUNK_BYTES // 4 + 1, 3 * CHUNK_BYTES // 4 + 77]


@contextmanager
def in_process(num_clouds: int) -> Iterator[Channel]:
    with InProcessChannel([OddSession().handle for _ in range(num_clouds)]) as channel:
        yield channel


@contextmanager
def over_grpc(num_clouds: int) -> Iterator[Channel]:
    with odd_clouds(num_clouds) as (addresses, ring), GrpcChannel(addresses, ring.client) as channel:
        yield channel


WAYS = {"in process": in_process, "grpc": over_grpc}


@pytest.fixture(params=["in process", "grpc", "in process, recorded", "grpc, recorded"])
def channel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Channel]:
    way, _, recorded = request.param.partition(", ")
    with WAYS[way](2) as inner:
        if not recorded:
            yield inner
            return
        with RecordingChannel(inner, tmp_path / "record") as outer:
            yield outer


def asks(manner: str = "echo", size: int = 10) -> list[Ask]:
    return [Ask(manner=manner, payload=torch.arange(size, dtype=torch.float32) + cloud) for cloud in range(2)]


def test_every_cloud_answers_its_own_message_in_order(channel: Channel) -> None:
    for number, size in enumerate(SIZES):
        sent = asks(size=size)
        answers = channel.exchange(sent, Answer)
        assert [a.number for a in answers] == [number + 1] * 2
        for ask, answer in zip(sent, answers, strict=True):
            assert torch.equal(ask.payload, answer.payload)


def test_rounds_may_overlap_and_every_one_gets_its_own_answers(channel: Channel) -> None:
    sizes = [3 * CHUNK_BYTES // 4 + 77, 1, 1000]
    sent = [asks(size=size) for size in sizes]
    under_way = [channel.post(messages, Answer) for messages in sent]
    for number, (messages, pending) in enumerate(zip(sent, under_way, strict=True)):
        answers = pending.wait()
        assert [a.number for a in answers] == [number + 1] * 2, "asked in this order"
        assert all(torch.equal(ask.payload, a.payload) for ask, a in zip(messages, answers, strict=True))
    assert channel.traffic.rounds == 3


def test_a_round_that_fails_ends_those_behind_it(channel: Channel) -> None:
    channel.post(asks(), Answer).wait()
    first = channel.post(asks("refuse"), Answer)
    channel.post(asks(size=CHUNK_BYTES), Answer)
    with pytest.raises(Unsupported):
        first.wait()
    with pytest.raises(TransportError, match="sessions with the clouds have ended"):
        channel.post(asks(), Answer)


def test_parts_of_a_channel_have_rounds_and_an_end_of_their_own(channel: Channel) -> None:
    parts = [PartChannel(channel, range(i, i + 1)) for i in range(2)]
    assert [part.clouds for part in parts] == [("cloud-1",), ("cloud-2",)]
    ask, other = asks()
    under_way = parts[0].post([ask], Answer)
    assert [parts[1].exchange([other], Answer)[0].number for _ in range(3)] == [1, 2, 3]
    assert under_way.wait()[0].number == 1
    assert torch.equal(parts[1].exchange([other], Answer)[0].payload, other.payload)
    assert channel.traffic.rounds == 5
    assert [channel.traffic.tally(cloud).requests for cloud in range(2)] == [1, 4]
    parts[1].close()
    with pytest.raises(TransportError, match="sessions with the clouds have ended"):
        parts[1].exchange([other], Answer)
    with pytest.raises(TransportError, match="sessions with the clouds have ended"):
        channel.exchange([ask, other], Answer)
    assert parts[0].exchange([ask], Answer)[0].number == 2
    channel.close()
    with pytest.raises(TransportError, match="sessions with the clouds have ended"):
        parts[0].exchange([ask], Answer)


def test_a_part_that_fails_names_its_cloud_and_leaves_the_other_to_whoever_has_the_channel(channel: Channel) -> None:
    parts = [PartChannel(channel, range(i, i + 1)) for i in range(2)]
    with pytest.raises(Unsupported, match=r"cloud-2.*: this cloud does not do that"):
        parts[1].exchange(asks("refuse")[1:], Answer)
    assert parts[0].exchange(asks()[:1], Answer)[0].number == 1


def test_optional_tensors(channel: Channel) -> None:
    ask = Ask(manner="echo", payload=torch.ones(3), weight=torch.full((3,), 2.0))
    assert channel.exchange([ask, asks()[0]], Answer)[0].payload.tolist() == [2, 2, 2]


def test_byte_counts_are_the_same_on_every_way(channel: Channel) -> None:
    with in_process(2) as reference:
        for way in (reference, channel):
            for size in SIZES:
                way.exchange(asks(size=size), Answer)
        assert channel.traffic.rounds == reference.traffic.rounds == len(SIZES)
        assert channel.traffic.by_topic == reference.traffic.by_topic
        assert channel.traffic.sent_bytes > 2 * 4 * sum(SIZES)
        assert channel.traffic.clouds == ("cloud-1", "cloud-2")
        assert channel.traffic.waiting_seconds >= channel.traffic.codec_seconds >= 0


@pytest.mark.parametrize(
    ("manner", "kind", "match"),
    [
        ("refuse", Unsupported, "cloud-1.*: this cloud does not do that"),
        ("babble", WireError, "Ask"),
    ],
)
def test_refusals_and_wrong_kinds(channel: Channel, manner: str, kind: type[Exception], match: str) -> None:
    channel.exchange(asks(), Answer)
    with pytest.raises(kind, match=match):
        channel.exchange([asks(manner)[0], asks()[1]], Answer)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_channel_that_failed_is_dead(recorded: bool, tmp_path: Path) -> None:
    with over_grpc(2) as inner:
        channel = RecordingChannel(inner, tmp_path / "record") if recorded else inner
        with pytest.raises(Unsupported):
            channel.exchange(asks("refuse"), Answer)
        with pytest.raises(TransportError, match="sessions with the clouds have ended"):
            channel.exchange(asks(), Answer)
        channel.close()
        channel.close()


def test_an_unforeseen_error_crosses_as_one_public_sentence(caplog: pytest.LogCaptureFixture) -> None:
    with over_grpc(2) as channel, pytest.raises(WorkerError, match="the computation failed"):
        channel.exchange([asks()[0], Ask(manner="break", payload=torch.tensor([1234.5]))], Answer)
    assert "odd_clouds.py" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "1234.5" not in caplog.text


def test_recordings_are_readable_again(tmp_path: Path) -> None:
    with in_process(2) as inner, RecordingChannel(inner, tmp_path / "record") as channel:
        for _ in range(3):
            channel.exchange(asks(size=100), Answer)
        meanwhile = Recording.read(tmp_path / "record")
        traffic = channel.traffic
    recording = Recording.read(tmp_path / "record")
    assert recording.meta == {"clouds": ["cloud-1", "cloud-2"]}
    for index, transcript in enumerate(recording.transcripts.values()):
        assert not transcript.is_truncated
        assert [e.kind for e in transcript.entries] == ["Ask", "Answer"] * 3
        assert [e.direction for e in transcript.entries] == [Direction.TO_CLOUD, Direction.FROM_CLOUD] * 3
        seconds = [e.seconds for e in transcript.entries]
        assert seconds == sorted(seconds)
        sizes = [e.size_bytes for e in transcript.entries]
        assert sum(sizes[::2]) == traffic.tally(index).sent_bytes
        assert sum(sizes[1::2]) == traffic.tally(index).received_bytes
        assert torch.equal(transcript.entries[0].tensors["payload"], asks(size=100)[index].payload)
        assert transcript.entries[5].values == {"number": 3}
        assert len(meanwhile.transcripts[f"cloud-{index + 1}"].entries) == 6
    with in_process(2) as inner, pytest.raises(ValueError, match="holds a recording already"):
        RecordingChannel(inner, tmp_path / "record")


def test_the_handshake_fills_the_recordings_meta_file(tmp_path: Path) -> None:
    hello = Hello(
        package_version="0.1",
        protocol="plain",
        spec_json='{"num_clouds":1}',
        model_fingerprint="ab" * 32,
        cloud_index=0,
        num_clouds=1,
    )
    with RecordingChannel(InProcessChannel([lambda m: m]), tmp_path / "record") as channel:
        channel.exchange([hello], Hello)
    assert Recording.read(tmp_path / "record").meta == {
        "clouds": ["cloud-1"],
        "sfumato": "0.1",
        "protocol": "plain",
        "spec": {"num_clouds": 1},
        "model_fingerprint": "ab" * 32,
    }
    assert (tmp_path / "record").stat().st_mode & 0o777 == 0o700
    with pytest.raises(WireError, match="no recording"):
        Recording.read(tmp_path)


def test_a_recording_of_parts_says_which_cloud_had_which_spec(tmp_path: Path) -> None:
    def hello(protocol: str) -> Hello:
        return Hello(
            package_version="0.1",
            protocol=protocol,
            spec_json=f'{{"of":"{protocol}"}}',
            model_fingerprint="ab" * 32,
            cloud_index=0,
            num_clouds=3,
        )

    with RecordingChannel(InProcessChannel([lambda m: m] * 3), tmp_path / "record") as channel:
        PartChannel(channel, range(1)).exchange([hello("outer")], Hello)
        PartChannel(channel, range(1, 3)).exchange([hello("inner")] * 2, Hello)
    recording = Recording.read(tmp_path / "record")
    assert [len(transcript.entries) for transcript in recording.transcripts.values()] == [2, 2, 2]
    assert recording.meta == {
        "clouds": ["cloud-1", "cloud-2", "cloud-3"],
        "sfumato": "0.1",
        "protocol": "outer",
        "spec": {"of": "outer"},
        "model_fingerprint": "ab" * 32,
        "parts": [
            {"clouds": ["cloud-1"], "protocol": "outer", "spec": {"of": "outer"}},
            {"clouds": ["cloud-2", "cloud-3"], "protocol": "inner", "spec": {"of": "inner"}},
        ],
    }


def test_a_request_is_recorded_even_if_no_answer_comes(tmp_path: Path) -> None:
    def die(_: object) -> Answer:
        raise TransportError("died")

    with (
        RecordingChannel(InProcessChannel([die]), tmp_path / "record") as channel,
        pytest.raises(TransportError, match="died"),
    ):
        channel.exchange(asks()[:1], Answer)
    entries = Recording.read(tmp_path / "record").transcripts["cloud-1"].entries
    assert [e.kind for e in entries] == ["Ask"]
