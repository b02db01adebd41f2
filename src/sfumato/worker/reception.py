"""Streams that other clouds open to this one: who is expected, and who is refused."""

import asyncio
import logging
import re
from collections.abc import Coroutine
from hmac import compare_digest
from typing import Any

import grpc

from sfumato.transport.keys import cloud_name
from sfumato.transport.peer_stream import RUN_KEY, PeerStream
from sfumato.transport.stream import ACCEPTED_KEY, TOKEN_KEY

_LOG = logging.getLogger("sfumato.worker")
_NAME = re.compile(r"cloud-([1-9]\d{0,5})\.sfumato")

Key = tuple[str, int]
"""A run, and one of its clouds."""


class Expected:
    """A stream that another cloud will open."""

    def __init__(self, secret: str):
        self._secret = secret
        self.stream: asyncio.Future[PeerStream] = asyncio.get_running_loop().create_future()

    def opens_with(self, secret: str) -> bool:
        """Whether this is the secret, and the stream has not come yet."""
        return compare_digest(secret.encode(), self._secret.encode()) and not self.stream.done()


class Reception:
    """All streams that other clouds open to this one; on the service's event loop."""

    def __init__(self) -> None:
        self.expected: dict[Key, Expected] = {}
        self._running: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs what nobody waits for."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def receive(self, _: object, context: Any) -> None:
        """Handles one stream, from its opening to its end.

        A stream of an unknown run and one with a wrong secret are refused in the same words.
        """
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        cloud = _cloud_of(context.auth_context().get("x509_subject_alternative_name", ()))
        if cloud is None:
            _LOG.warning("a certificate that is no cloud's was refused where clouds meet")
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not a cloud's certificate")
            return
        expected = self.expected.get((metadata.get(RUN_KEY, ""), cloud))
        if expected is None or not expected.opens_with(metadata.get(TOKEN_KEY, "")):
            _LOG.warning("%s was refused: it is not expected in this run", cloud_name(cloud))
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "not expected")
            return
        ended = asyncio.Event()
        expected.stream.set_result(PeerStream(context.read, context.write, ended.set))
        await context.send_initial_metadata(((ACCEPTED_KEY, "1"),))
        await ended.wait()


def _cloud_of(names: Any) -> int | None:
    found = (_NAME.fullmatch(name.decode("ascii", "replace")) for name in names)
    return next((int(match[1]) - 1 for match in found if match), None)
