"""Who computes: worker processes on this machine, or a Ray cluster."""

import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for_handles
from types import TracebackType
from typing import Self, TypeVar

from sfumato.errors import ExperimentError

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAITING_PER_WORKER = 2


class Workers(ABC):
    """Processes that compute pieces of work, in no certain order."""

    @abstractmethod
    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Computes ``function`` of every item; gives each result as soon as it is there.

        The first error ends the work; results given before stand.

        Raises:
            ExperimentError: a worker died.
            SfumatoError, ValueError: what ``function`` raised.
        """

    @abstractmethod
    def close(self) -> None:
        """Stops the workers and what they are computing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalWorkers(Workers):
    """Processes on this machine; they end with the one that started them, however that ends.

    Args:
        num_workers: processes; by default one for each processor that this one may use.
        num_threads: of torch, in each.
    """

    def __init__(self, num_workers: int | None = None, num_threads: int = 1):
        self.num_workers = num_workers or max(1, len(os.sched_getaffinity(0)) // num_threads)
        others = set(multiprocessing.active_children())
        self._pool = ProcessPoolExecutor(
            self.num_workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(num_threads,),
        )
        self._others = others

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Keeps two pieces of work waiting for each process, so that none of them idles."""
        waiting = iter(items)
        running: dict[Future[Result], Item] = {}
        try:
            while True:
                for item in islice(waiting, _WAITING_PER_WORKER * self.num_workers - len(running)):
                    running[self._pool.submit(function, item)] = item
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(done), done.result()
        except BrokenProcessPool as error:
            raise ExperimentError(
                "a worker process died, most often for want of memory; what was finished is kept: run the same command "
                "again with fewer --workers or a smaller --batch-size"
            ) from error

    def close(self) -> None:
        """Ends the processes; pieces of work under way are lost."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - self._others:
            process.terminate()


def _begin(num_threads: int) -> None:
    import torch

    torch.set_num_threads(num_threads)
    # The parent answers Ctrl-C, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for_handles([parent.sentinel])
    os._exit(1)
