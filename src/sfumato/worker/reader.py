"""A session's messages: the next one is read while the one before is computed."""

import asyncio
from typing import Any

from sfumato.transport.stream import ReadFrame, Received, WriteFrame, receive, send
from sfumato.wire.codec import Encoded


class Reader:
    """Reads a session's messages one ahead, and notices when nothing comes any more.

    Args:
        read: gives one frame, or the end.
        max_data_bytes: tensors that one message may hold.
        idle_seconds: silence between two frames before a session ends.
    """

    def __init__(self, read: ReadFrame, max_data_bytes: int, idle_seconds: float):
        self._read = read
        self._max_data_bytes = max_data_bytes
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._active = self._loop.time()
        self._next: asyncio.Task[Received | None] | None = None

    async def message(self) -> Received | None:
        """The next message, or None at the end of the stream.

        Raises:
            TimeoutError: nothing came for as long as a session may be idle, since the last answer left.
            WireError: as :func:`receive`.
        """
        self._active = self._loop.time()
        reading = self._next or self._start()
        while not reading.done():
            left = self._active + self._idle_seconds - self._loop.time()
            if left <= 0:
                raise TimeoutError
            await asyncio.wait({reading}, timeout=left)
        received = reading.result()
        self._next = None if received is None else self._start()
        return received

    async def send(self, write: WriteFrame, seq: int, reply: Encoded) -> None:
        """Sends an answer, and counts the session's idleness from there."""
        await send(write, seq, reply)
        self._active = self._loop.time()

    def stop(self) -> None:
        """Reads no further."""
        if self._next is not None:
            give_up(self._next)

    def _start(self) -> asyncio.Task[Received | None]:
        self._next = asyncio.ensure_future(receive(self._frame, max_data_bytes=self._max_data_bytes))
        return self._next

    async def _frame(self) -> object:
        raw = await self._read()
        self._active = self._loop.time()
        return raw


def give_up(task: asyncio.Task[Any]) -> None:
    """Ends a task that nobody waits for any more; how it failed, if it did, is of no interest."""
    if not task.cancel() and not task.cancelled():
        task.exception()
