"""Clouds that behave as a test asks them to; also a nursery of them, as ``python tests/odd_clouds.py``."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from torch import Tensor

from sfumato.client.local_clouds import LocalClouds
from sfumato.transport.address import CloudAddress
from sfumato.transport.keys import KeyRing, throw_away_keys
from sfumato.transport.loop import network_loop
from sfumato.transport.peers import Peers
from sfumato.wire.messages import Message, Refusal
from sfumato.worker.prefork import run
from sfumato.worker.service import CloudService, ServiceLimits, SessionFactory


@dataclass(frozen=True, kw_only=True)
class Ask(Message):
    manner: str
    payload: Tensor
    weight: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Answer(Message):
    number: int
    payload: Tensor


class OddSession:
    """Echoes with the number of the request in this session, or misbehaves."""

    def __init__(self, _: Peers | None = None) -> None:
        self.kinds: tuple[type[Message], ...] = (Ask,)
        self._number = 0

    def handle(self, message: Message) -> Message:
        assert isinstance(message, Ask)
        self._number += 1
        match message.manner.split():
            case ["hang", seconds]:
                time.sleep(float(seconds))
            case ["break"]:
                raise RuntimeError(f"secret tensor {message.payload.tolist()}")
            case ["refuse"]:
                return Refusal(error="Unsupported", sentence="this cloud does not do that")
            case ["babble"]:
                return message
        payload = message.payload if message.weight is None else message.payload * message.weight
        return Answer(number=self._number, payload=payload)


@contextmanager
def odd_clouds(
    num_clouds: int = 2,
    *,
    ring: KeyRing | None = None,
    limits: ServiceLimits | None = None,
    factory: SessionFactory = OddSession,
) -> Iterator[tuple[tuple[CloudAddress, ...], KeyRing]]:
    """Serves clouds in this process, on the network loop, and stops them."""
    ring = ring or throw_away_keys(num_clouds)
    services = [CloudService(factory, keys, limits) for keys in ring.clouds]
    ports = [network_loop().run(service.start("127.0.0.1", 0)) for service in services]
    try:
        yield (
            tuple(
                CloudAddress(host="127.0.0.1", port=port, name=keys.name)
                for port, keys in zip(ports, ring.clouds, strict=True)
            ),
            ring,
        )
    finally:
        for service in services:
            network_loop().run(service.stop())


def odd_processes(num_clouds: int = 2, **settings: object) -> LocalClouds:
    """Local clouds, as processes."""
    return LocalClouds("none", num_clouds, nursery=(sys.executable, __file__), **settings)  # type: ignore[arg-type]


def process_at(address: CloudAddress) -> psutil.Process:
    """The cloud process that listens there."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == address.port and connection.pid:
            assert connection.pid != os.getpid()
            return psutil.Process(connection.pid)
    raise AssertionError(f"nobody listens at {address}")


if __name__ == "__main__":
    sys.exit(run(lambda order: OddSession))
