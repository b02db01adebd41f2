import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from odd_clouds import Answer, Ask, odd_clouds
from sfumato.errors import SfumatoError, TransportError
from sfumato.transport.grpc_client import GrpcChannel
from sfumato.transport.keys import throw_away_keys
from sfumato.transport.loop import network_loop
from sfumato.worker.service import CloudService, ServiceLimits


def test_two_clients_at_once_get_right_answers() -> None:
    def run(client: int) -> None:
        with GrpcChannel(addresses, ring.client) as channel:
            for number in range(20):
                payloads = [torch.full((50_000,), 1000.0 * client + 10 * number + cloud) for cloud in range(2)]
                asks = [Ask(manner="hang 0.005", payload=p) for p in payloads]
                for answer, payload in zip(channel.exchange(asks, Answer), payloads, strict=True):
                    assert answer.number == number + 1
                    assert torch.equal(answer.payload, payload)

    with odd_clouds(2) as (addresses, ring), ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(run, client) for client in range(3)]:
            done.result(30)


def test_a_session_that_fails_leaves_the_others_alone() -> None:
    with odd_clouds(1) as (addresses, ring), GrpcChannel(addresses, ring.client) as quiet:
        quiet.exchange([Ask(manner="echo", payload=torch.ones(1))], Answer)
        with GrpcChannel(addresses, ring.client) as loud, pytest.raises(SfumatoError):
            loud.exchange([Ask(manner="break", payload=torch.ones(1))], Answer)
        assert quiet.exchange([Ask(manner="echo", payload=torch.ones(1))], Answer)[0].number == 2


def test_a_place_is_free_again_only_when_its_thread_is() -> None:
    with odd_clouds(1, limits=ServiceLimits(max_sessions=1)) as (addresses, ring):
        with (
            GrpcChannel(addresses, ring.client, timeout_seconds=0.2) as channel,
            pytest.raises(TransportError, match="did not answer"),
        ):
            channel.exchange([Ask(manner="hang 1", payload=torch.ones(1))], Answer)
        with pytest.raises(TransportError, match="no free session"):
            GrpcChannel(addresses, ring.client)
        network_loop().run(asyncio.sleep(1.2))
        GrpcChannel(addresses, ring.client).close()


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = CloudService(lambda _: pytest.fail("no session"), throw_away_keys(1).clouds[0])
        with pytest.raises(TransportError, match=rf"cannot listen at 127\.0\.0\.1:{port}: the port is taken"):
            network_loop().run(service.start("127.0.0.1", port))


def test_two_clouds_never_share_a_port() -> None:
    with odd_clouds(1) as (addresses, ring):
        second = CloudService(lambda _: pytest.fail("no session"), ring.clouds[0])
        with pytest.raises(TransportError, match="the port is taken"):
            network_loop().run(second.start("127.0.0.1", addresses[0].port))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ServiceLimits(max_sessions=0),
        lambda: ServiceLimits(idle_seconds=0.0),
        lambda: ServiceLimits(max_data_bytes=0),
    ],
)
def test_limits_must_be_positive(make: Callable[[], ServiceLimits]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        make()
