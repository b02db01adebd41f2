"""Work shared out by Ray: the cluster is the user's, and Ray does the scheduling, the placement and the retries."""

import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import grpc

from sfumato.errors import ExperimentError, SfumatoError
from sfumato.experiments.workers import Workers

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAITING_PER_CPU = 2
_MAX_RETRIES = 3
_CONNECT_SECONDS = 5.0


class RayWorkers(Workers):
    """Tasks on a Ray cluster; a task that is lost with its node is run again elsewhere.

    Args:
        address: ``auto`` for the cluster that this machine belongs to, ``HOST:PORT`` of its head, or ``ray://…``.
        num_threads: of torch in each task, and the processors that a task asks Ray for.

    Raises:
        ExperimentError: Ray is not installed, or no cluster answers there.
    """

    def __init__(self, address: str, num_threads: int = 1):
        self._num_threads = num_threads
        self._ray: Any = _connected(address)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Keeps two tasks waiting for each processor of the cluster."""
        ray, waiting = self._ray, iter(items)
        task = ray.remote(num_cpus=self._num_threads, max_retries=_MAX_RETRIES)(_run)
        running: dict[Any, Item] = {}
        try:
            while True:
                room = _WAITING_PER_CPU * int(ray.cluster_resources().get("CPU", 1)) // self._num_threads
                for item in islice(waiting, max(1, room - len(running))):
                    running[task.remote(function, item, self._num_threads)] = item
                if not running:
                    return
                for done in ray.wait(list(running), num_returns=1)[0]:
                    yield running.pop(done), ray.get(done)
        except ray.exceptions.RayTaskError as error:
            raise _as_ours(error) from error
        except ray.exceptions.RayError as error:
            raise ExperimentError(
                f"the Ray cluster failed ({type(error).__name__}); what was finished is kept: see to the cluster and "
                "run the same command again"
            ) from error

    def close(self) -> None:
        """Leaves the cluster; Ray ends the tasks under way."""
        self._ray.shutdown()


def _run(function: Callable[[Item], Result], item: Item, num_threads: int) -> Result:
    import torch

    torch.set_num_threads(num_threads)
    return function(item)


def _connected(address: str) -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise ExperimentError("Ray is not installed: pip install 'sfumato[ray]'") from error
    _require_answer(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ExperimentError(
            f"no Ray cluster answers at {address!r}: start one with 'ray start --head', or leave --ray out to compute "
            "on this machine"
        ) from error
    return ray


def _require_answer(address: str) -> None:
    """Knocks first: Ray itself waits for minutes at a port that answers nothing."""
    if address == "auto":
        # Where Ray looks first. A head that died without 'ray stop' leaves its address behind.
        left = Path(tempfile.gettempdir(), "ray", "ray_current_cluster")
        address = os.environ.get("RAY_ADDRESS") or (left.read_text().strip() if left.is_file() else "")
        if not address:
            return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--ray must be auto, HOST:PORT or ray://HOST:PORT, got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
        # Both of Ray's ports speak gRPC; under Ray's own TLS settings the handshake is left to Ray.
        if os.environ.get("RAY_USE_TLS", "0") == "0":
            with grpc.insecure_channel(f"{host}:{port}") as channel:
                grpc.channel_ready_future(channel).result(timeout=_CONNECT_SECONDS)
    except (OSError, OverflowError, grpc.FutureTimeoutError) as error:
        raise ExperimentError(
            f"no Ray cluster answers at {address}: check the address of the cluster's head, or leave --ray out to "
            "compute on this machine"
        ) from error


def _as_ours(error: Any) -> Exception:
    cause = error.cause
    if isinstance(cause, SfumatoError | ValueError):
        return cause
    if isinstance(cause, ImportError):
        return ExperimentError("a node of the Ray cluster lacks sfumato: install the same version on every node")
    return ExperimentError(f"a task of the Ray cluster failed with {type(cause).__name__}; what was finished is kept")
