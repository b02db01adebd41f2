"""Clouds that meet: who may open a stream to whom, and how each failure ends."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
import torch
from cryptography.x509.oid import ExtendedKeyUsageOID

from odd_clouds import Answer, Ask, odd_clouds
from sfumato.errors import SfumatoError, TransportError, WireError, WorkerError
from sfumato.transport.address import CloudAddress
from sfumato.transport.grpc_client import GrpcChannel
from sfumato.transport.keys import CloudKeys, KeyRing, _Authority, throw_away_keys
from sfumato.transport.loop import network_loop
from sfumato.transport.part import PartChannel
from sfumato.transport.peer_stream import RUN_KEY, PeerStream, open_peer_stream
from sfumato.transport.peers import Peers
from sfumato.transport.stream import METHOD, PEER_METHOD, SERVICE, TOKEN_KEY, KeepAlive
from sfumato.wire.codec import encode, encoded_size
from sfumato.wire.messages import Connect, Connected, Introduced, Introduction, Message, Refusal
from sfumato.worker.service import ServiceLimits

RUN = "a run"


class MeetingSession:
    """Exchanges what it is given with all others when it is asked to, or misbehaves."""

    def __init__(self, peers: Peers):
        self.kinds: tuple[type[Message], ...] = (Introduction, Connect, Ask)
        self._peers = peers

    def handle(self, message: Message) -> Message:
        try:
            return self._handle(message)
        except SfumatoError as error:
            return Refusal(error=type(error).__name__, sentence=str(error))

    def _handle(self, message: Message) -> Message:
        match message:
            case Introduction():
                self._others = message.clouds
                (own,) = {*range(len(message.clouds) + 1)} - {*message.clouds}
                self._peers.expect(message, own)
                return Introduced()
            case Connect():
                self._peers.connect()
                return Connected()
            case Ask(manner="refuse"):
                raise WorkerError("it has a reason of its own")
            case Ask(manner="hang"):
                time.sleep(1.5)
        assert isinstance(message, Ask)
        due = 64 if message.manner == "narrow" else 4096
        found = self._peers.exchange(dict.fromkeys(self._others, message), dict.fromkeys(self._others, due), Ask)
        payloads = [found[cloud].payload for cloud in sorted(found)]
        return Answer(number=self._peers.take_sent_bytes(), payload=torch.stack(payloads))


def introductions(addresses, clouds=None, run=RUN) -> list[Introduction]:
    """Of all to all; the secret of a pair is its sum's name."""
    clouds = clouds or range(len(addresses))
    found = []
    for own in clouds:
        others = tuple(c for c in clouds if c != own)
        where = [addresses[c] for c in others]
        hosts, ports = tuple(a.host for a in where), tuple(a.port for a in where)
        secrets = tuple(f"secret of {min(own, c)} and {max(own, c)}" for c in others)
        found.append(Introduction(run=run, clouds=others, hosts=hosts, ports=ports, secrets=secrets))
    return found


@contextmanager
def meeting(num_clouds=2, spoil: Callable[[list[Introduction]], None] = lambda _: None, **settings: Any) -> Iterator:
    """A channel to clouds that have been introduced."""
    with (
        odd_clouds(num_clouds, factory=MeetingSession, **settings) as (addresses, ring),
        GrpcChannel(addresses, ring.client) as channel,
    ):
        told = introductions(addresses)
        spoil(told)
        channel.exchange(told, Introduced)
        yield channel, addresses, ring


def connected(channel: GrpcChannel) -> None:
    channel.exchange([Connect()] * channel.num_clouds, Connected)


def asks(*manners: str, size: int = 4) -> list[Ask]:
    return [Ask(manner=manner, payload=torch.full((size,), float(cloud))) for cloud, manner in enumerate(manners)]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def test_every_cloud_has_every_others_message_and_the_bytes_are_those_of_the_frames():
    with meeting(3) as (channel, _, _):
        connected(channel)
        for number in range(3):
            sent = asks("meet", "meet", "meet", size=100 * number)
            answers = channel.exchange(sent, Answer)
            for own, answer in enumerate(answers):
                assert answer.payload[:, :1].flatten().tolist() == ([c for c in range(3) if c != own] if number else [])
                assert answer.number == 2 * encoded_size(sent[own])


def test_clouds_of_a_part_meet_by_their_names_in_the_run():
    with (
        odd_clouds(3, factory=MeetingSession) as (addresses, ring),
        GrpcChannel(addresses, ring.client) as whole,
    ):
        part = PartChannel(whole, range(1, 3))
        told = [replace(each, first=1) for each in introductions(addresses[1:])]
        part.exchange(told, Introduced)
        connected(part)
        answers = part.exchange(asks("meet", "meet"), Answer)
        assert [a.payload[:, 0].tolist() for a in answers] == [[1.0], [0.0]]
        with pytest.raises(WireError, match="counts clouds from below 0"):
            PartChannel(whole, range(1)).exchange([replace(told[0], first=-1)], Introduced)


def test_several_runs_meet_at_once():
    with meeting() as (channel, addresses, ring), GrpcChannel(addresses, ring.client) as other:
        other.exchange(introductions(addresses, run="another run"), Introduced)
        for each in (channel, other):
            connected(each)
        for each in (other, channel, other):
            assert len(each.exchange(asks("meet", "meet"), Answer)) == 2


def refused(match: str, spoil: Callable[[list[Introduction]], None], num_clouds: int = 2, **settings: Any) -> None:
    with (
        within(8),
        meeting(num_clouds, spoil, limits=ServiceLimits(peer_seconds=1.0), **settings) as (channel, _, _),
        pytest.raises(WorkerError, match=match),
    ):
        connected(channel)


NO_STREAM = r"^cloud-1 \(127\.0\.0\.1:\d+\): it cannot open a stream to cloud-2"


class TestWhoIsRefused:
    def test_a_cloud_with_a_wrong_secret(self):
        def spoil(told):
            told[0] = replace(told[0], secrets=("another secret",))

        refused(NO_STREAM, spoil)

    def test_a_cloud_of_an_unknown_run(self):
        def spoil(told):
            told[0] = replace(told[0], run="another run")

        refused(NO_STREAM, spoil)

    def test_an_address_where_nobody_listens(self):
        def spoil(told):
            told[0] = replace(told[0], ports=(1,))

        refused(NO_STREAM, spoil)

    @pytest.mark.parametrize("host", ["unix:/tmp/socket", "unix", "ipv4:127.0.0.1", "no.such.host.invalid"])
    def test_a_host_that_is_another_kind_of_address(self, host):
        def spoil(told):
            told[0] = replace(told[0], hosts=(host,))

        refused(r"^cloud-1 .*(cannot open a stream to cloud-2|cloud-2 did not connect with it)", spoil)

    def test_an_address_of_another_cloud_which_is_sent_nothing(self, caplog):
        def spoil(told):
            told[0] = replace(told[0], ports=told[0].ports[::-1])

        refused(r"^cloud-1 .*: it cannot open a stream to cloud-[23]", spoil, num_clouds=3)
        assert "cloud-1 was refused" not in caplog.text, "its stream ended before any secret was shown"

    def test_keys_that_are_good_as_a_server_only(self):
        with (
            odd_clouds(2, ring=server_only(throw_away_keys(2)), factory=MeetingSession) as (addresses, ring),
            GrpcChannel(addresses, ring.client) as channel,
            pytest.raises(SfumatoError, match=r"good as a server only, .* make new keys with `sfumato keys`"),
        ):
            channel.exchange(introductions(addresses), Introduced)

    def test_a_run_that_is_known_already(self):
        with (
            meeting() as (_, addresses, ring),
            GrpcChannel(addresses, ring.client) as other,
            pytest.raises(SfumatoError, match=r"cloud-2 .*: it knows a run of this name already"),
        ):
            other.exchange(introductions(addresses), Introduced)

    def test_an_introduction_with_ports_that_cannot_be(self):
        def spoil(told):
            told[1] = replace(told[1], ports=(70_000,))

        with pytest.raises(SfumatoError, match=r"cloud-2 .*: an introduction cannot be followed"), meeting(spoil=spoil):
            pass


def server_only(ring: KeyRing) -> KeyRing:
    """Keys as they were made before clouds could meet."""
    authority = _Authority(timedelta(days=1))
    clouds = []
    for cloud in ring.clouds:
        certificate, key = authority.issue(f"{cloud.name}.sfumato", [ExtendedKeyUsageOID.SERVER_AUTH])
        clouds.append(replace(cloud, authority=authority.pem, certificate=certificate, key=key))
    certificate, key = authority.issue("client.sfumato", [ExtendedKeyUsageOID.CLIENT_AUTH])
    client = replace(ring.client, authority=authority.pem, certificate=certificate, key=key)
    return replace(ring, client=client, clouds=tuple(clouds))


def status_of(address: CloudAddress, keys: Any, method: str, **metadata: str) -> grpc.StatusCode:
    """How a cloud ends a stream that is opened with these keys."""

    async def opened() -> grpc.StatusCode:
        credentials = grpc.ssl_channel_credentials(keys.authority, keys.key, keys.certificate)
        options = [("grpc.ssl_target_name_override", f"{address.name}.sfumato")]
        async with grpc.aio.secure_channel(address.target, credentials, options=options) as channel:
            call = channel.stream_stream(f"/{SERVICE}/{method}")(metadata=tuple(metadata.items()))
            await call.initial_metadata()
            return await call.code()

    return network_loop().run(opened())


class TestRawStreams:
    def at_second(self, keys_of: Callable[[KeyRing], Any], method: str = PEER_METHOD, **metadata: str):
        with meeting() as (_, addresses, ring):
            return status_of(addresses[1], keys_of(ring), method, **metadata)

    def test_the_clients_certificate_is_no_clouds(self):
        known = {RUN_KEY: RUN, TOKEN_KEY: "secret of 0 and 1"}
        assert self.at_second(lambda ring: ring.client, **known) is grpc.StatusCode.PERMISSION_DENIED

    def test_a_clouds_certificate_opens_no_session_even_with_the_right_token(self):
        with meeting() as (_, addresses, ring):
            token = {TOKEN_KEY: ring.clouds[1].token}
            code = status_of(addresses[1], ring.clouds[0], METHOD, **token)
            assert code is grpc.StatusCode.PERMISSION_DENIED

    @pytest.mark.parametrize(
        "metadata",
        [
            {},
            {RUN_KEY: RUN},
            {RUN_KEY: RUN, TOKEN_KEY: "secret of 0 and 2"},
            {RUN_KEY: "unknown", TOKEN_KEY: "secret of 0 and 1"},
        ],
        ids=["nothing", "no secret", "another pair's secret", "unknown run"],
    )
    def test_an_unknown_run_and_a_wrong_secret_are_refused_alike(self, metadata):
        assert self.at_second(lambda ring: ring.clouds[0], **metadata) is grpc.StatusCode.UNAUTHENTICATED

    def test_a_cloud_that_is_not_of_the_pair(self):
        with meeting(3) as (_, addresses, ring):
            known = {RUN_KEY: RUN, TOKEN_KEY: "secret of 0 and 1"}
            assert status_of(addresses[1], ring.clouds[2], PEER_METHOD, **known) is grpc.StatusCode.UNAUTHENTICATED

    def test_a_stream_is_opened_once(self):
        with meeting() as (channel, addresses, ring):
            connected(channel)
            known = {RUN_KEY: RUN, TOKEN_KEY: "secret of 0 and 1"}
            assert status_of(addresses[1], ring.clouds[0], PEER_METHOD, **known) is grpc.StatusCode.UNAUTHENTICATED
            channel.exchange(asks("meet", "meet"), Answer)


class TestDuringARun:
    @pytest.mark.parametrize("num_clouds", [2, 3])
    def test_the_cloud_that_fails_is_named_although_others_notice_its_end(self, num_clouds):
        with meeting(num_clouds) as (channel, _, _):
            connected(channel)
            manners = ["meet"] * (num_clouds - 1) + ["refuse"]
            with within(3), pytest.raises(WorkerError, match=rf"^cloud-{num_clouds} .*: it has a reason of its own"):
                channel.exchange(asks(*manners), Answer)

    def test_a_cloud_that_does_not_come_is_named_by_those_who_wait(self):
        with meeting(limits=ServiceLimits(peer_seconds=0.4)) as (channel, _, _):
            connected(channel)
            with within(3), pytest.raises(WorkerError, match=r"^cloud-1 .*: cloud-2 did not come to the same place"):
                channel.exchange(asks("meet", "hang"), Answer)

    def test_a_message_larger_than_what_is_due_takes_no_memory(self):
        with meeting() as (channel, _, _):
            connected(channel)
            with pytest.raises(
                SfumatoError, match=r"^cloud-1 .*: cloud-2: 'Ask' announces 4000000 bytes of tensors; at"
            ):
                channel.exchange([asks("narrow")[0], asks("", "meet", size=1_000_000)[1]], Answer)

    def test_a_session_that_ends_wakes_its_thread_and_leaves_nothing_expected(self):
        limits = ServiceLimits(max_sessions=1, peer_seconds=30)
        with odd_clouds(2, factory=MeetingSession, limits=limits) as (addresses, ring), within(10):
            for _ in range(3):
                channel = _eventually(lambda: GrpcChannel(addresses, ring.client))
                channel.exchange(introductions(addresses), Introduced)
                connected(channel)
                channel.post(asks("meet", "hang"), Answer)
                channel.close()


def _eventually(action: Callable[[], Any]) -> Any:
    for _ in range(100):
        try:
            return action()
        except TransportError:
            time.sleep(0.05)
    return action()


def test_another_clouds_stream_may_end_in_the_middle_of_a_message():
    """A peer with the right name and secret that sends half a message."""
    ring = throw_away_keys(2)
    with (
        second_of_two(ring) as address,
        GrpcChannel([address], replace(ring.client, tokens=ring.client.tokens[1:])) as channel,
    ):
        nowhere = CloudAddress(host="127.0.0.1", port=1, name="cloud-1")
        channel.exchange(introductions([nowhere, address])[1:], Introduced)
        stream, close = network_loop().run(lying_peer(address, ring.clouds[0]))
        channel.exchange([Connect()], Connected)
        under_way = channel.post([asks("", "meet")[1]], Answer)
        whole = encode(asks("meet", size=500)[0])
        network_loop().run(stream.send(whole._replace(buffers=[whole.buffers[0][:100]])))
        network_loop().run(close())
        with within(5), pytest.raises(SfumatoError, match=r"^cloud-2 .*: cloud-1.*ended"):
            under_way.wait()


async def lying_peer(address: CloudAddress, keys: CloudKeys) -> tuple[PeerStream, Any]:
    return await open_peer_stream(address, keys, RUN, "secret of 0 and 1", KeepAlive())


@contextmanager
def second_of_two(ring: KeyRing) -> Iterator[CloudAddress]:
    with odd_clouds(1, ring=replace(ring, clouds=ring.clouds[1:]), factory=MeetingSession) as (addresses, _):
        yield addresses[0]


def test_secrets_are_in_no_repr():
    told = introductions([CloudAddress(host="h", port=1, name="cloud-1")] * 2)[0]
    assert "secret" not in repr(told)
