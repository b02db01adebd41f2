"""One stream between two clouds: the same on both sides once it is open."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import grpc.aio

from sfumato.errors import TransportError
from sfumato.transport.address import CloudAddress
from sfumato.transport.keys import CloudKeys, certificate_name
from sfumato.transport.stream import (
    ACCEPTED_KEY,
    PEER_METHOD,
    SERVICE,
    TOKEN_KEY,
    KeepAlive,
    ReadFrame,
    Received,
    WriteFrame,
    receive,
    send,
    stream_options,
)
from sfumato.wire.codec import Encoded

RUN_KEY = "sfumato-run"
"""Call metadata that names the run; the pair's secret travels as a token does."""

_GONE = (grpc.aio.AioRpcError, grpc.aio.UsageError, grpc.aio.InternalError, asyncio.InvalidStateError)


class PeerStream:
    """Messages both ways, numbered each way.

    Args:
        read, write: give and take one frame.
        end: ends the stream.
    """

    def __init__(self, read: ReadFrame, write: WriteFrame, end: Callable[[], object]):
        self._read, self._write = read, write
        self.end = end
        self._sent = self._received = 0

    async def send(self, message: Encoded) -> int:
        """Sends one message, and says how many bytes it took.

        Raises:
            TransportError: the stream has ended.
        """
        self._sent += 1
        try:
            return await send(self._write, self._sent, message)
        except _GONE:
            raise TransportError("ended the stream: it died, or left the run") from None

    async def receive(self, max_data_bytes: int) -> Received:
        """Waits for one message.

        Raises:
            TransportError: the stream has ended.
            WireError: it is damaged, out of order, or its tensors are larger than that.
        """
        self._received += 1
        try:
            received = await receive(self._read, max_data_bytes=max_data_bytes)
        except _GONE:
            received = None
        if received is None or received.seq != self._received:
            raise TransportError("ended the stream: it died, or left the run")
        return received


async def open_peer_stream(
    address: CloudAddress, keys: CloudKeys, run: str, secret: str, keep_alive: KeepAlive
) -> tuple[PeerStream, Callable[[], Coroutine[Any, Any, None]]]:
    """Opens a stream to another cloud, which must prove its name before anything is sent to it.

    Args:
        address: of the other cloud.
        keys: this cloud's.
        run: the client's name for the run.
        secret: of these two clouds.
        keep_alive: how soon a frozen cloud is noticed.

    Returns:
        The stream, and what closes it.

    Raises:
        TransportError: it cannot be reached, shows another certificate, or does not expect this cloud. Which of these
            is not told, lest a client use a cloud to look around in the cloud's network.
    """
    credentials = grpc.ssl_channel_credentials(keys.authority, keys.key, keys.certificate)
    options = [*stream_options(keep_alive), ("grpc.ssl_target_name_override", certificate_name(address.name))]
    # The scheme keeps a host from being read as another kind of address.
    channel = grpc.aio.secure_channel(f"dns:///{address.target}", credentials, options=options)
    call: Any = None
    try:
        metadata = ((RUN_KEY, run), (TOKEN_KEY, secret))
        call = channel.stream_stream(f"/{SERVICE}/{PEER_METHOD}")(metadata=metadata)
        if ACCEPTED_KEY not in await call.initial_metadata():
            raise TransportError(_refused(address))
    except BaseException as error:
        await channel.close()
        if isinstance(error, _GONE):
            raise TransportError(_refused(address)) from None
        raise

    async def close() -> None:
        call.cancel()
        await channel.close()

    return PeerStream(call.read, call.write, call.cancel), close


def _refused(address: CloudAddress) -> str:
    return (
        f"it cannot open a stream to {address}: clouds must reach each other where the client reaches them, and hold "
        "keys that were made together"
    )
