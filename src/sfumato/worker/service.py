"""One cloud: a gRPC server whose streams are sessions, each with its own state.

The event loop only moves bytes; whatever decodes, computes and encodes runs in a thread of a pool, so
keep-alives and other sessions go on meanwhile. Nothing logged here holds a prompt, a tensor, a key or a
token.
"""

import asyncio
import logging
import os
import signal
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hmac import compare_digest
from typing import Any, NoReturn, Protocol

import grpc
import grpc.aio

from sfumato.errors import TransportError, WireError
from sfumato.transport.keys import CLIENT_NAME, CloudKeys
from sfumato.transport.peers import Peers
from sfumato.transport.stream import (
    ACCEPTED_KEY,
    METHOD,
    PEER_METHOD,
    SERVICE,
    TOKEN_KEY,
    KeepAlive,
    Received,
    send,
    stream_options,
)
from sfumato.wire.codec import MAX_DATA_BYTES, Encoded, decode, encode
from sfumato.wire.messages import Message, Refusal
from sfumato.worker.peers import StreamedPeers
from sfumato.worker.reader import Reader, give_up
from sfumato.worker.reception import Reception

_LOG = logging.getLogger("sfumato.worker")


class Session(Protocol):
    """A cloud's side of one run: request in, reply out."""

    @property
    def kinds(self) -> tuple[type[Message], ...]:
        """The kinds of message that may come next."""

    def handle(self, message: Message) -> Message:
        """Answers one request; returns a :class:`Refusal` for every error that sfumato raises on purpose."""


SessionFactory = Callable[[Peers], Session]
"""Makes the session of a stream that a client opens, with what it may meet other clouds by."""


@dataclass(frozen=True, kw_only=True)
class ServiceLimits:
    """What one cloud grants to its clients."""

    max_sessions: int = 8
    idle_seconds: float = 300.0
    """Silence between two frames of a client before its session ends."""
    max_data_bytes: int = MAX_DATA_BYTES
    """Tensors that one request may hold."""
    peer_seconds: float = 60.0
    """How long another cloud may let this one wait, in protocols in which they meet."""
    keep_alive: KeepAlive = field(default_factory=KeepAlive)

    def __post_init__(self) -> None:
        if self.max_sessions < 1 or min(self.idle_seconds, self.peer_seconds) <= 0 or self.max_data_bytes < 1:
            raise ValueError("max_sessions, idle_seconds, max_data_bytes and peer_seconds must be positive")


class CloudService:
    """The server of one cloud; start, use and stop it on one event loop."""

    def __init__(self, factory: SessionFactory, keys: CloudKeys, limits: ServiceLimits | None = None):
        """Takes a factory of sessions, one for each stream that a client opens."""
        self._factory = factory
        self._reception = Reception()
        self._keys = keys
        self._limits = limits or ServiceLimits()
        self._num_sessions = 0
        self._opened = 0
        self._server: Any = None

    async def start(self, host: str, port: int) -> int:
        """Listens and returns the port, which the system chooses if ``port`` is 0.

        Raises:
            TransportError: the port is taken, or the host is not this machine.
        """
        credentials = grpc.ssl_server_credentials(
            [(self._keys.key, self._keys.certificate)], self._keys.authority, require_client_auth=True
        )
        server = grpc.aio.server(options=stream_options(self._limits.keep_alive))
        methods = {
            METHOD: grpc.stream_stream_rpc_method_handler(self._session),
            PEER_METHOD: grpc.stream_stream_rpc_method_handler(self._reception.receive),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = server.add_secure_port(target, credentials)
        except RuntimeError:
            raise TransportError(
                f"cannot listen at {target}: the port is taken, or the host is not one of this machine"
            ) from None
        await server.start()
        self._server = server
        return bound

    async def stop(self) -> None:
        """Ends all sessions and stops listening."""
        if self._server is not None:
            await self._server.stop(None)

    @property
    def is_busy(self) -> bool:
        """Whether a session is open, or still computes for a client that has left."""
        return self._num_sessions > 0

    async def _session(self, _: object, context: Any) -> None:
        await self._admit(context)
        self._num_sessions += 1
        self._opened += 1
        number = self._opened
        _LOG.info("session %d opened", number)
        computing: list[Future[tuple[Encoded, bool]]] = []
        # A thread of its own: a session may be suspended in the middle of a computation, and goes on where it began.
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"session-{number}")
        made: list[Session] = []
        limits = self._limits
        peers = StreamedPeers(self._reception, self._keys, limits.peer_seconds, limits.keep_alive)
        try:
            await context.send_initial_metadata(((ACCEPTED_KEY, "1"),))
            await self._converse(context, thread, partial(self._answer, made, peers), computing)
        except TimeoutError:
            _LOG.info("session %d expired", number)
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the session was idle for too long")
        finally:
            peers.close()
            thread.submit(made.clear)
            thread.shutdown(wait=False)
            self._release(computing, number)

    async def _admit(self, context: Any) -> None:
        metadata = dict(context.invocation_metadata() or ())
        token = metadata.get(TOKEN_KEY, "")
        token = token if isinstance(token, bytes) else token.encode()
        if not compare_digest(token, self._keys.token.encode()):
            _LOG.warning("a client with a wrong token was refused")
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong token")
        names = context.auth_context().get("x509_subject_alternative_name", ())
        if CLIENT_NAME.encode() not in names:
            _LOG.warning("a certificate that is not the client's was refused")
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not the client's certificate")
        if self._num_sessions >= self._limits.max_sessions:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no free session")

    async def _converse(
        self,
        context: Any,
        thread: ThreadPoolExecutor,
        answer: Callable[[int, Received], tuple[Encoded, bool]],
        computing: list[Future[tuple[Encoded, bool]]],
    ) -> None:
        seq, goes_on = 0, True
        reader = Reader(context.read, self._limits.max_data_bytes, self._limits.idle_seconds)
        sending: asyncio.Task[object] = asyncio.ensure_future(asyncio.sleep(0))
        try:
            while goes_on:
                seq += 1
                try:
                    received = await reader.message()
                except WireError as error:
                    await sending
                    await send(context.write, seq, encode(Refusal(error="WireError", sentence=str(error))))
                    return
                if received is None:
                    return
                computing[:] = [thread.submit(answer, seq, received)]
                reply, goes_on = await asyncio.wrap_future(computing[0])
                # A client may have asked for more meanwhile: the answer travels while the next one is computed.
                await sending
                sending = asyncio.ensure_future(reader.send(context.write, received.seq, reply))
            await sending
        finally:
            give_up(sending)
            reader.stop()

    def _answer(self, made: list[Session], peers: Peers, seq: int, received: Received) -> tuple[Encoded, bool]:
        """Decodes, computes and encodes in the session's thread; the flag: does the session go on?"""
        try:
            if not made:
                made.append(self._factory(peers))
            session = made[0]
            if received.seq != seq:
                raise WireError(f"request {received.seq} came where {seq} was due; the client is out of step")
            limit = self._limits.max_data_bytes
            request = decode(received.header, received.data, session.kinds, max_data_bytes=limit)
            reply = session.handle(request)
            return encode(reply), not isinstance(reply, Refusal)
        except WireError as error:
            return encode(Refusal(error="WireError", sentence=str(error))), False
        except Exception as error:
            _log_failure(error)
            return encode(Refusal(error="WorkerError", sentence="the computation failed")), False

    def _release(self, computing: list[Future[tuple[Encoded, bool]]], number: int) -> None:
        """Frees the session's place once its thread is done, even when its client left before."""
        loop = asyncio.get_running_loop()

        def free(_: object = None) -> None:
            self._num_sessions -= 1
            _LOG.info("session %d ended", number)

        if computing and not computing[0].done():
            computing[0].add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(free))
        else:
            free()


def _log_failure(error: Exception) -> None:
    """Logs where a computation failed, without the error's own words, which may hold values of a tensor."""
    places = "".join(traceback.format_tb(error.__traceback__))
    _LOG.error("a computation failed with %s:\n%s", type(error).__name__, places)


def serve(
    factory: SessionFactory,
    keys: CloudKeys,
    *,
    host: str,
    port: int,
    limits: ServiceLimits,
    ready: Callable[[int], None],
    follow: int | None = None,
) -> None:
    """Runs one cloud until SIGTERM, and until SIGINT or the end of a pipe.

    Args:
        factory: makes the session of each stream.
        keys: the cloud's certificate and token.
        host: address to listen at.
        port: 0 lets the system choose.
        limits: what clients are granted.
        ready: called with the port once the cloud listens.
        follow: file number of a pipe; the cloud stops at its end, and leaves SIGINT alone.

    Raises:
        TransportError: the port is taken, or the host is not this machine.
    """
    if asyncio.run(_serve(CloudService(factory, keys, limits), host, port, ready, follow)):
        _exit_now()


def _exit_now() -> NoReturn:
    """Ends the process although a thread still computes for a client that has left; nobody waits for it."""
    logging.shutdown()
    os._exit(0)


def _stop_at_end(pipe: int, stop: asyncio.Event) -> None:
    if not os.read(pipe, 4096):
        stop.set()


async def _serve(service: CloudService, host: str, port: int, ready: Callable[[int], None], follow: int | None) -> bool:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if follow is None:
        loop.add_signal_handler(signal.SIGINT, stop.set)
    else:
        loop.add_reader(follow, _stop_at_end, follow, stop)
    bound = await service.start(host, port)
    ready(bound)
    await stop.wait()
    await service.stop()
    return service.is_busy
