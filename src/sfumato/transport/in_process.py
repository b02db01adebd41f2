"""All parties in one process: for simulation, tests, sweeps and exact counting on the meta device."""

from collections.abc import Callable, Sequence
from time import perf_counter

from sfumato.transport.base import Channel, Delivered, UnderWay
from sfumato.wire.codec import encoded_size
from sfumato.wire.messages import Message

Handler = Callable[[Message], Message]
"""A cloud's side of one session: request in, reply out. Errors become :class:`Refusal` there, not here."""


class InProcessChannel(Channel):
    """Calls each cloud's handler directly, and counts the bytes that the same round takes on a stream."""

    def __init__(self, handlers: Sequence[Handler]):
        super().__init__([f"cloud-{i + 1}" for i in range(len(handlers))])
        self._handlers = list(handlers)

    def _start(self, requests: Sequence[Message], kinds: tuple[type[Message], ...]) -> UnderWay:  # noqa: ARG002
        started = perf_counter()
        delivered = []
        for handler, request in zip(self._handlers, requests, strict=True):
            reply = handler(request)
            seconds = perf_counter() - started
            delivered.append(Delivered(reply, encoded_size(request), encoded_size(reply), seconds))
        return UnderWay(lambda: delivered)
