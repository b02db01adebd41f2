"""Clouds that run elsewhere: their addresses, and the keys that open them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sfumato.transport.address import parse_addresses
from sfumato.transport.base import Channel
from sfumato.transport.grpc_client import GrpcChannel
from sfumato.transport.key_files import load_client_keys


class RemoteClouds:
    """Addresses and keys, both checked at once; nothing is contacted before a channel is opened."""

    def __init__(self, addresses: str, keys: Path):
        """Reads what it is given.

        Args:
            addresses: ``host:port,host:port``, cloud-1 first.
            keys: folder made by ``sfumato keys``, or its ``client`` folder.

        Raises:
            ValueError: the addresses cannot be read.
            AccessRefused: keys are missing, expired, or do not belong together.
        """
        self.addresses = parse_addresses(addresses)
        self._keys = load_client_keys(keys, clouds=len(self.addresses))

    @contextmanager
    def open_channel(self, **settings: Any) -> Iterator[Channel]:
        """Opens a session with every cloud.

        Args:
            settings: passed on to :class:`~sfumato.transport.grpc_client.GrpcChannel`.
        """
        with GrpcChannel(self.addresses, self._keys, **settings) as channel:
            yield channel

    def close(self) -> None:
        """Nothing was started."""
