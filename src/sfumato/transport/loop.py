"""The one event loop of a client process, in a thread of its own.

gRPC's asyncio layer has one poller per process, so every channel of a process shares one loop. It starts with
the first channel, hence after any fork that a program does before it talks to clouds.
"""

import asyncio
import atexit
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import cache
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


class NetworkLoop:
    """An event loop in a daemon thread, for callers that are not asynchronous."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="sfumato-network", daemon=True)
        self._thread.start()
        atexit.register(self._stop)

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Runs a coroutine on the loop and waits for it; an interrupt of the caller cancels it."""
        return self.result(self.start(coroutine))

    def start(self, coroutine: Coroutine[Any, Any, Result]) -> "Future[Result]":
        """Runs a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def result(self, future: "Future[Result]") -> Result:
        """Waits for what was started; an interrupt of the caller cancels it."""
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=1.0)


@cache
def network_loop() -> NetworkLoop:
    """The loop of this process, started on first use."""
    return NetworkLoop()
