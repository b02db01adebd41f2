"""Each way in which a cloud or a peer can fail ends in one clear sentence, soon."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import torch

from odd_clouds import Answer, Ask, odd_clouds, odd_processes, process_at
from sfumato.errors import AccessRefused, SfumatoError, TransportError, WireError
from sfumato.transport.address import CloudAddress, parse_addresses
from sfumato.transport.grpc_client import GrpcChannel
from sfumato.transport.keys import ClientKeys, KeyRing, throw_away_keys
from sfumato.transport.loop import network_loop
from sfumato.transport.stream import ACCEPTED_KEY, METHOD, SERVICE, TOKEN_KEY, KeepAlive, receive, send, stream_options
from sfumato.wire.codec import MAX_DATA_BYTES, Encoded, decode, encode
from sfumato.wire.frame import write_frame
from sfumato.wire.messages import Refusal
from sfumato.worker.service import ServiceLimits

FAST = KeepAlive(interval_seconds=0.5, timeout_seconds=0.5)

TESTS = Path(__file__).parent.parent


def ask(manner: str = "echo") -> Ask:
    return Ask(manner=manner, payload=torch.ones(4))


def open_and_close(addresses: Sequence[CloudAddress], keys: ClientKeys) -> None:
    with GrpcChannel(addresses, keys) as channel:
        channel.exchange([ask()] * len(addresses), Answer)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


class TestAccess:
    def refused(
        self, match: str, spoil: Callable[[KeyRing], ClientKeys], kind: type[SfumatoError] = AccessRefused
    ) -> None:
        with odd_clouds(2) as (addresses, ring):
            with within(5), pytest.raises(kind, match=match):
                open_and_close(addresses, spoil(ring))
            open_and_close(addresses, ring.client)

    def test_wrong_token(self) -> None:
        self.refused(
            r"cloud-2 \(127\.0\.0\.1:\d+\) refused our access token",
            lambda ring: replace(ring.client, tokens=(ring.client.tokens[0], "x" * 43)),
        )

    def test_another_clouds_token(self) -> None:
        self.refused(
            "refused our access token",
            lambda ring: replace(ring.client, tokens=(ring.client.tokens[0], ring.client.tokens[0])),
        )

    def test_the_cloud_has_another_authority(self) -> None:
        self.refused("shows a certificate of an unknown authority", lambda ring: throw_away_keys(2).client)

    def test_our_certificate_has_another_authority(self) -> None:
        self.refused(
            r"refused our certificate, which is not signed by the ca\.pem",
            lambda ring: replace(throw_away_keys(2).client, authority=ring.client.authority),
        )

    def test_a_cloud_cannot_pass_for_the_client(self) -> None:
        self.refused(
            "refused our certificate, which is not the client's",
            lambda ring: replace(ring.client, certificate=ring.clouds[0].certificate, key=ring.clouds[0].key),
        )

    def test_a_cloud_cannot_stand_in_for_another(self) -> None:
        with odd_clouds(2) as (addresses, ring), within(5):
            swapped = [replace(a, name=b.name) for a, b in zip(addresses, addresses[::-1], strict=True)]
            with pytest.raises(AccessRefused, match="shows the certificate of another cloud"):
                open_and_close(swapped, ring.client)

    def test_expired_certificates(self) -> None:
        ring = throw_away_keys(1, days=2e-5)
        time.sleep(2.8)
        with (
            odd_clouds(1, ring=ring) as (addresses, _),
            within(5),
            pytest.raises(AccessRefused, match="shows a certificate that has expired"),
        ):
            open_and_close(addresses, ring.client)

    def test_no_certificate(self) -> None:
        with odd_clouds(1) as (addresses, ring), within(5):
            credentials = grpc.ssl_channel_credentials(ring.client.authority)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                network_loop().run(_raw_exchange(addresses[0], ring, [], credentials))
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE

    def test_number_of_tokens(self) -> None:
        with pytest.raises(ValueError, match="1 clouds need as many access tokens, got 2"):
            GrpcChannel(parse_addresses("127.0.0.1:1"), throw_away_keys(2).client)

    def test_max_sessions(self) -> None:
        with odd_clouds(1, limits=ServiceLimits(max_sessions=1)) as (addresses, ring):
            with GrpcChannel(addresses, ring.client), pytest.raises(AccessRefused, match="has no free session"):
                GrpcChannel(addresses, ring.client)
            _eventually(lambda: open_and_close(addresses, ring.client))

    def test_logs_hold_no_secret(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        with odd_clouds(2) as (addresses, ring):
            open_and_close(addresses, ring.client)
            with pytest.raises(AccessRefused):
                open_and_close(addresses, replace(ring.client, tokens=("wrong-token-of-mine",) * 2))
        assert "session 1 opened" in caplog.text
        assert "wrong-token-of-mine" not in caplog.text
        assert not any(token in caplog.text for token in ring.client.tokens)
        assert "PRIVATE KEY" not in caplog.text


def _eventually(action: Callable[[], object]) -> None:
    for _ in range(50):
        try:
            action()
            return
        except AccessRefused:
            time.sleep(0.05)
    action()


class TestUnreachable:
    def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        with within(5), pytest.raises(TransportError, match=rf"nobody listens at cloud-1 \(127.0.0.1:{port}\)"):
            open_and_close(parse_addresses(f"127.0.0.1:{port}"), throw_away_keys(1).client)

    def test_unknown_host(self) -> None:
        with within(15), pytest.raises(TransportError, match="cannot be found"):
            open_and_close(parse_addresses("no.such.host.invalid:7001"), throw_away_keys(1).client)

    def test_something_else_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=_greet, args=(server,), daemon=True).start()
            port = server.getsockname()[1]
            with within(10), pytest.raises(TransportError, match="does not speak TLS"):
                open_and_close(parse_addresses(f"127.0.0.1:{port}"), throw_away_keys(1).client)


def _greet(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"220 mail.example.org ESMTP, and a long line to be read as a TLS record\r\n")


class TestDuringARun:
    def test_hanging_cloud(self) -> None:
        with odd_clouds(2) as (addresses, ring), GrpcChannel(addresses, ring.client, timeout_seconds=0.5) as channel:
            channel.exchange([ask(), ask()], Answer)
            with within(1.5), pytest.raises(TransportError, match=r"^cloud-2 .* did not answer within 0\.5 s"):
                channel.exchange([ask(), ask("hang 2")], Answer)

    def test_the_first_failure_does_not_wait_for_the_others(self) -> None:
        with (
            odd_clouds(2) as (addresses, ring),
            GrpcChannel(addresses, ring.client) as channel,
            within(1.5),
            pytest.raises(SfumatoError, match="does not do that"),
        ):
            channel.exchange([ask("hang 2"), ask("refuse")], Answer)

    def test_killed_cloud(self) -> None:
        with odd_processes(2) as clouds, clouds.open_channel() as channel:
            channel.exchange([ask(), ask()], Answer)
            victim = process_at(clouds.addresses[1])
            timer = threading.Timer(0.3, victim.kill)
            timer.start()
            with within(3), pytest.raises(TransportError, match=r"^cloud-2 .* died"):
                channel.exchange([ask("hang 5"), ask("hang 5")], Answer)
            timer.join()

    def test_frozen_cloud(self) -> None:
        with odd_processes(2) as clouds, clouds.open_channel(keep_alive=FAST) as channel:
            channel.exchange([ask(), ask()], Answer)
            victim = process_at(clouds.addresses[1])
            victim.suspend()
            try:
                with within(6), pytest.raises(TransportError, match=r"^cloud-2 .* stopped answering keep-alives"):
                    channel.exchange([ask(), ask()], Answer)
            finally:
                victim.resume()

    def test_long_computations_survive_keep_alives(self) -> None:
        limits = ServiceLimits(keep_alive=FAST)
        with (
            odd_clouds(1, limits=limits) as (addresses, ring),
            GrpcChannel(addresses, ring.client, keep_alive=FAST) as channel,
        ):
            channel.exchange([ask("hang 3")], Answer)

    def test_session_expires(self) -> None:
        with odd_clouds(1, limits=ServiceLimits(idle_seconds=0.3)) as (addresses, ring):
            with GrpcChannel(addresses, ring.client) as channel:
                channel.exchange([ask()], Answer)
                time.sleep(0.8)
                with within(3), pytest.raises(TransportError, match="ended the session because no request came"):
                    channel.exchange([ask()], Answer)
            open_and_close(addresses, ring.client)

    def test_computing_is_not_idling(self) -> None:
        with (
            odd_clouds(1, limits=ServiceLimits(idle_seconds=0.3)) as (addresses, ring),
            GrpcChannel(addresses, ring.client) as channel,
        ):
            channel.exchange([ask("hang 0.8")], Answer)
            channel.exchange([ask()], Answer)

    def test_oversized_request(self) -> None:
        with (
            odd_clouds(1, limits=ServiceLimits(max_data_bytes=1000)) as (addresses, ring),
            GrpcChannel(addresses, ring.client) as channel,
            within(5),
            pytest.raises(WireError, match=r"cloud-1.*announces 16000000 bytes of tensors; at most 1000"),
        ):
            channel.exchange([Ask(manner="echo", payload=torch.zeros(4_000_000))], Answer)

    def test_oversized_reply(self) -> None:
        with (
            odd_clouds(1) as (addresses, ring),
            GrpcChannel(addresses, ring.client, max_data_bytes=1000) as channel,
            within(5),
            pytest.raises(WireError, match="announces 16000000 bytes of tensors; at most 1000"),
        ):
            channel.exchange([Ask(manner="echo", payload=torch.zeros(4_000_000))], Answer)


async def _raw_exchange(
    address: CloudAddress,
    ring: KeyRing,
    frames: Sequence[bytes],
    credentials: grpc.ChannelCredentials | None = None,
) -> Refusal | None:
    """Plays a client that sends exactly these frames, and returns the refusal that it gets."""
    client = ring.client
    credentials = credentials or grpc.ssl_channel_credentials(client.authority, client.key, client.certificate)
    options = [o for o in stream_options(KeepAlive()) if o[0] != "grpc.max_send_message_length"]
    options = [
        *options,
        ("grpc.max_send_message_length", -1),
        ("grpc.ssl_target_name_override", f"{address.name}.sfumato"),
    ]
    async with grpc.aio.secure_channel(address.target, credentials, options=options) as channel:
        call: Any = channel.stream_stream(f"/{SERVICE}/{METHOD}")(metadata=((TOKEN_KEY, client.tokens[0]),))
        for frame in frames:
            await call.write(frame)
        if frames:
            await call.done_writing()
        async with asyncio.timeout(5):
            received = await receive(call.read, max_data_bytes=MAX_DATA_BYTES)
        return received and decode(received.header, received.data, [Refusal])


def _framed(seq: int, message: Encoded) -> bytes:
    return write_frame(seq, message.header, message.buffers)


class TestMisbehavingClient:
    @pytest.mark.parametrize(
        ("frames", "match"),
        [
            ([_framed(2, encode(ask()))], "request 2 came where 1 was due"),
            ([b"\x00nonsense"], "unknown field"),
            ([_framed(1, Encoded(b"\xc1", []))], "cannot be read"),
            ([_framed(1, encode(Refusal(error="E", sentence="s")))], "'Refusal' does not belong here"),
            ([write_frame(1, encode(ask()).header, [memoryview(bytes(1000))])], "more data than it announced"),
            ([write_frame(1, encode(ask()).header, [memoryview(bytes(10))])], "ended inside a message"),
            ([write_frame(1, encode(ask()).header, []), write_frame(1, b"", [])], "frame of another one"),
            ([write_frame(1, encode(ask()).header, []), write_frame(2, b"", [memoryview(bytes(64))])], "another one"),
            ([write_frame(1, encode(ask()).header, [memoryview(bytes(64))])], "fails its digest"),
        ],
    )
    def test_is_refused_with_a_reason(self, frames: list[bytes], match: str) -> None:
        with odd_clouds(1) as (addresses, ring):
            refusal = network_loop().run(_raw_exchange(addresses[0], ring, frames))
            assert refusal is not None
            assert refusal.error == "WireError"
            assert match in refusal.sentence
            open_and_close(addresses, ring.client)

    def test_frame_over_the_limit(self) -> None:
        frame = write_frame(1, encode(ask()).header, [memoryview(bytes(8 << 20))])
        with odd_clouds(1) as (addresses, ring):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                network_loop().run(_raw_exchange(addresses[0], ring, [frame]))
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            open_and_close(addresses, ring.client)


class _LyingCloud:
    """A gRPC server with the right keys that answers what it likes."""

    def __init__(self, ring: KeyRing, answer: Callable[[Any], Any]):
        self._ring = ring
        self._answer = answer

    async def start(self) -> int:
        keys = self._ring.clouds[0]
        credentials = grpc.ssl_server_credentials([(keys.key, keys.certificate)], keys.authority, True)
        self.server = grpc.aio.server(options=stream_options(KeepAlive()))
        handlers = {METHOD: grpc.stream_stream_rpc_method_handler(self._session)}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = self.server.add_secure_port("127.0.0.1:0", credentials)
        await self.server.start()
        return port

    async def _session(self, _: object, context: Any) -> None:
        await context.send_initial_metadata(((ACCEPTED_KEY, "1"),))
        await receive(context.read, max_data_bytes=MAX_DATA_BYTES)
        await self._answer(context)


def _answer_with(*frames: bytes) -> Callable[[Any], Any]:
    async def answer(context: Any) -> None:
        for frame in frames:
            await context.write(frame)

    return answer


GOOD = encode(Answer(number=1, payload=torch.ones(4)))


@pytest.mark.parametrize(
    ("answer", "kind", "match"),
    [
        (_answer_with(_framed(7, GOOD)), WireError, r"cloud-1 .* answered request 7 instead of 1"),
        (_answer_with(b"\xff"), WireError, r"cloud-1 .*unknown field"),
        (_answer_with(_framed(1, encode(ask()))), WireError, "'Ask' does not belong here"),
        (_answer_with(write_frame(1, GOOD.header, [])), WireError, r"cloud-1 .*ended inside a message"),
        (_answer_with(write_frame(1, GOOD.header, [memoryview(bytes(64))])), WireError, "fails its digest"),
        (_answer_with(), TransportError, r"cloud-1 .*died or ended the session"),
    ],
)
def test_lying_clouds(answer: Callable[[Any], Any], kind: type[SfumatoError], match: str) -> None:
    ring = throw_away_keys(1)
    cloud = _LyingCloud(ring, answer)
    addresses = parse_addresses(f"127.0.0.1:{network_loop().run(cloud.start())}")
    try:
        with within(5), GrpcChannel(addresses, ring.client) as channel, pytest.raises(kind, match=match):
            channel.exchange([ask()], Answer)
    finally:
        network_loop().run(cloud.server.stop(None))


def test_send_and_receive_are_used_by_both_ends() -> None:
    frames: list[bytes] = []

    async def write(frame: bytes) -> None:
        frames.append(frame)

    async def read() -> object:
        return frames.pop(0) if frames else grpc.aio.EOF

    sent = network_loop().run(send(write, 5, GOOD))
    received = network_loop().run(receive(read, max_data_bytes=1000))
    assert received is not None
    assert (received.seq, received.framed_bytes) == (5, sent)


def interrupted_round() -> None:
    """Ctrl-C in the middle of a round; runs in a process of its own, where no other library watches signals."""
    with odd_clouds(1) as (addresses, ring), GrpcChannel(addresses, ring.client) as channel:
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with within(2), pytest.raises(KeyboardInterrupt):
            channel.exchange([ask("hang 3")], Answer)
        timer.join()
        with pytest.raises(TransportError, match="sessions with the clouds have ended"):
            channel.exchange([ask()], Answer)


def test_interrupting_a_round_ends_the_sessions() -> None:
    program = "from transport.test_failures import interrupted_round; interrupted_round()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=TESTS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":7001", "host:x", "host:0", "host:70000", "a:1,a:1", "a:1,,b:2"]
)
def test_addresses_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"host:port|appears twice"):
        parse_addresses(text)


def test_addresses() -> None:
    first, second = parse_addresses("example.org:7001, [::1]:7002")
    assert (str(first), str(second)) == ("cloud-1 (example.org:7001)", "cloud-2 ([::1]:7002)")
    assert (second.host, second.port) == ("::1", 7002)
