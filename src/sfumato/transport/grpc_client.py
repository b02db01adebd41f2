"""One bidirectional gRPC stream per cloud, TLS both ways, all clouds driven in lock step."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from time import perf_counter
from typing import Any

import grpc
import grpc.aio

from sfumato.errors import SfumatoError, TransportError, WireError
from sfumato.transport.address import CloudAddress
from sfumato.transport.base import Channel, Delivered, Target, UnderWay, as_error
from sfumato.transport.diagnosis import explain, preflight
from sfumato.transport.keys import ClientKeys, certificate_name
from sfumato.transport.loop import network_loop
from sfumato.transport.stream import (
    ACCEPTED_KEY,
    METHOD,
    SERVICE,
    TOKEN_KEY,
    KeepAlive,
    Received,
    receive,
    send,
    stream_options,
)
from sfumato.wire.codec import MAX_DATA_BYTES, Encoded, decode, encode
from sfumato.wire.messages import Message, Refusal

_OPEN_SECONDS = 20.0
_CLOSE_SECONDS = 2.0


class GrpcChannel(Channel):
    """Sessions with clouds over the network.

    Construction opens every stream and returns when every cloud has accepted token and certificate. The
    certificate of cloud ``i`` must carry that cloud's own name, so no cloud can stand in for another.

    Raises:
        AccessRefused: a cloud refused token or certificate, showed a wrong one, or has no free session.
        TransportError: a cloud cannot be reached.

    Reveals: to the network, that the client talks to these clouds, and sizes and times. Nothing else.
    """

    def __init__(
        self,
        addresses: Sequence[CloudAddress],
        keys: ClientKeys,
        *,
        timeout_seconds: float = 120.0,
        max_data_bytes: int = MAX_DATA_BYTES,
        keep_alive: KeepAlive | None = None,
        met_at: Sequence[CloudAddress] = (),
    ):
        """Opens the sessions.

        Args:
            addresses: the clouds in order.
            keys: the client's certificate, and a token for each cloud.
            timeout_seconds: how long one round may take at every cloud together, transfer included.
            max_data_bytes: tensors that one reply may hold.
            keep_alive: how soon a frozen cloud is noticed.
            met_at: where clouds that meet find each other; by default at the same addresses.
        """
        if len(keys.tokens) != len(addresses):
            raise ValueError(f"{len(addresses)} clouds need as many access tokens, got {len(keys.tokens)}")
        super().__init__([a.name for a in addresses], [Target(a.host, a.port) for a in met_at or addresses])
        self._timeout_seconds = timeout_seconds
        self._max_data_bytes = max_data_bytes
        self._under_way: dict[Future[list[tuple[int, Received, float]]], range] = {}
        """Rounds, and the clouds that each asks."""
        options = stream_options(keep_alive or KeepAlive())
        self._links = [
            _Link(address, keys, token, options) for address, token in zip(addresses, keys.tokens, strict=True)
        ]
        try:
            network_loop().run(self._open())
        except BaseException:
            self.close()
            raise

    async def _open(self) -> None:
        await _all_of([link.open() for link in self._links])

    def _start(self, clouds: range, requests: Sequence[Message], kinds: tuple[type[Message], ...]) -> UnderWay:
        started = perf_counter()
        encoded = [encode(request) for request in requests]
        self.traffic.codec_seconds += perf_counter() - started
        links = [self._links[i] for i in clouds]
        asked = [(link, link.next_seq(), message) for link, message in zip(links, encoded, strict=True)]
        under_way = network_loop().start(self._exchange(asked))
        self._under_way[under_way] = clouds

        def deliver() -> list[Delivered]:
            answers = network_loop().result(under_way)
            del self._under_way[under_way]
            decoding = perf_counter()
            delivered = []
            for sent_bytes, received, answered in answers:
                reply = decode(received.header, received.data, kinds, max_data_bytes=self._max_data_bytes)
                delivered.append(Delivered(reply, sent_bytes, received.framed_bytes, answered - started))
            self.traffic.codec_seconds += perf_counter() - decoding
            return delivered

        return UnderWay(deliver, under_way)

    async def _exchange(self, asked: "Sequence[tuple[_Link, int, Encoded]]") -> list[tuple[int, Received, float]]:
        tasks = [
            asyncio.ensure_future(link.exchange(seq, message, self._max_data_bytes)) for link, seq, message in asked
        ]
        try:
            done, late = await asyncio.wait(tasks, timeout=self._timeout_seconds, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task in done:
                    task.result()
            if late:
                raise self._too_late([link for (link, _, _), t in zip(asked, tasks, strict=True) if t in late])
            return [task.result() for task in tasks]
        finally:
            for task in tasks:
                task.cancel()

    def _too_late(self, late: "Sequence[_Link]") -> TransportError:
        names = ", ".join(str(link.address) for link in late)
        return TransportError(
            f"{names} did not answer within {self._timeout_seconds:g} s: the cloud hangs or is overloaded, "
            "or the link is too slow for the time allowed to a round"
        )

    def _end(self, clouds: Sequence[int]) -> None:
        for future, asked in self._under_way.items():
            if not set(asked).isdisjoint(clouds):
                future.cancel()
        network_loop().run(_close([self._links[i] for i in clouds]))


async def _close(links: "Sequence[_Link]") -> None:
    await asyncio.wait([asyncio.ensure_future(link.close()) for link in links], timeout=_CLOSE_SECONDS)


async def _all_of(work: Sequence[Any]) -> None:
    """Runs all in parallel; the first failure cancels the others."""
    tasks = [asyncio.ensure_future(w) for w in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


class _Link:
    """The stream to one cloud."""

    def __init__(self, address: CloudAddress, keys: ClientKeys, token: str, options: list[tuple[str, int]]):
        self.address = address
        self._keys = keys
        self._token = token
        self._options = options
        self._channel: Any = None
        self._call: Any = None
        self._opened = False
        self._seq = 0
        # Rounds may overlap: their messages follow one another whole, each way. Locks are fair, hence in order.
        self._sending, self._receiving = asyncio.Lock(), asyncio.Lock()

    def next_seq(self) -> int:
        """The number of this cloud's next request."""
        self._seq += 1
        return self._seq

    async def open(self) -> None:
        credentials = grpc.ssl_channel_credentials(self._keys.authority, self._keys.key, self._keys.certificate)
        name = certificate_name(self.address.name)
        options = [*self._options, ("grpc.ssl_target_name_override", name)]
        self._channel = grpc.aio.secure_channel(self.address.target, credentials, options=options)
        self._call = self._channel.stream_stream(f"/{SERVICE}/{METHOD}")(metadata=((TOKEN_KEY, self._token),))
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                metadata = await self._call.initial_metadata()
        except TimeoutError:
            reason = await asyncio.to_thread(preflight, self.address, self._keys)
            silent = f"{self.address} did not open a session within {_OPEN_SECONDS:g} s: it is overloaded"
            raise reason or TransportError(silent) from None
        if ACCEPTED_KEY not in metadata:
            raise await self._failure()
        self._opened = True

    async def exchange(self, seq: int, message: Encoded, max_data_bytes: int) -> tuple[int, Received, float]:
        """Sends one message and awaits the answer; reading starts at once, so that an early no is heard."""
        reading = asyncio.ensure_future(self._receive(max_data_bytes))
        try:
            async with self._sending:
                sent_bytes = await self._send(seq, message)
            received = await reading
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            raise await self._failure() from None
        except WireError as error:
            raise WireError(f"{self.address}: {error}") from error
        finally:
            reading.cancel()
        if received is None:
            raise await self._failure()
        if received.described.kind == Refusal.__name__:
            raise as_error(decode(received.header, received.data, [Refusal]), str(self.address))
        if received.seq != seq:
            raise WireError(f"{self.address} answered request {received.seq} instead of {seq}: it is out of step")
        return sent_bytes, received, perf_counter()

    async def _receive(self, max_data_bytes: int) -> Received | None:
        async with self._receiving:
            return await receive(self._call.read, max_data_bytes=max_data_bytes)

    async def _send(self, seq: int, message: Encoded) -> int:
        try:
            return await send(self._call.write, seq, message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return 0

    async def _failure(self) -> SfumatoError:
        code, details = await self._call.code(), await self._call.details() or ""
        if code is grpc.StatusCode.UNAVAILABLE and not self._opened:
            reason = await asyncio.to_thread(preflight, self.address, self._keys)
            if reason is not None:
                return reason
        return explain(self.address, code, details, opened=self._opened)

    async def close(self) -> None:
        if self._call is not None:
            self._call.cancel()
        if self._channel is not None:
            await self._channel.close()
