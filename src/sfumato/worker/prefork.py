"""The nursery of local clouds: one import, one copy of the weights, n processes.

Run by a client as ``python -m sfumato.worker.prefork``. It prepares the weights, forks the clouds while it has one
thread and no gRPC object, and then only watches. Everything ends with the pipe at its stdin: when the client
exits, crashes or is killed.
"""

import ctypes
import gc
import logging
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sfumato.transport.nursery import NurseryOrder, Report
    from sfumato.worker.service import SessionFactory

    Prepare = Callable[[NurseryOrder], SessionFactory]

_STDIN = 0
_WATCH_SECONDS = 0.5
_FAREWELL_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1


def run(prepare: "Prepare") -> int:
    """Reads the order, prepares once, forks the clouds and watches them; returns the exit code.

    Args:
        prepare: makes the factory of sessions that every cloud then uses; called once, before the forks.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from sfumato.transport.allocator import keep_large_buffers

    keep_large_buffers()
    client = os.getppid()
    reports = _claim_stdout()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    import sfumato.worker.service  # noqa: F401  # before the forks, so that no cloud imports it again
    from sfumato.errors import SfumatoError
    from sfumato.transport.nursery import Failed, NurseryOrder

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
    # One thread until the forks: a child hangs in the first parallel loop if its parent ever ran one.
    torch.set_num_threads(1)
    try:
        order = NurseryOrder.from_line(sys.stdin.buffer.readline())
        factory = prepare(order)
    except (SfumatoError, ValueError) as error:
        _report(reports, Failed(error=type(error).__name__, sentence=str(error)[:2000]))
        return 1
    gc.freeze()
    children = {_fork(order, index, factory, reports): index for index in range(len(order.clouds))}
    _watch(children, client, reports)
    _bury(children)
    return 0


def _claim_stdout() -> int:
    """Keeps stdout for reports; whatever else prints goes to stderr."""
    sys.stdout.flush()
    reports = os.dup(1)
    os.dup2(2, 1)
    return reports


def _report(reports: int, report: "Report") -> None:
    from sfumato.transport.nursery import report_to_line

    try:
        os.write(reports, report_to_line(report))
    except BrokenPipeError:
        return


def _fork(order: "NurseryOrder", index: int, factory: "SessionFactory", reports: int) -> int:
    nursery = os.getpid()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        _die_with(nursery)
        status = _be_cloud(order, index, factory, reports)
    except BaseException as error:
        logging.getLogger("sfumato.worker").error("cloud-%d failed: %s", index + 1, type(error).__name__)
    finally:
        logging.shutdown()
        os._exit(status)


def _be_cloud(order: "NurseryOrder", index: int, factory: "SessionFactory", reports: int) -> int:
    import torch

    from sfumato.errors import SfumatoError
    from sfumato.transport.nursery import Failed, Listening
    from sfumato.worker.service import ServiceLimits, serve

    torch.set_num_threads(order.threads)
    try:
        serve(
            factory,
            order.clouds[index],
            host="127.0.0.1",
            port=0,
            limits=ServiceLimits(idle_seconds=order.idle_seconds),
            ready=lambda port: _report(reports, Listening(cloud=index, port=port)),
            follow=_STDIN,
        )
    except (SfumatoError, ValueError) as error:
        _report(reports, Failed(error=type(error).__name__, sentence=str(error)[:2000]))
        return 1
    return 0


def _die_with(parent: int) -> None:
    """Asks the kernel to end this process with its parent, where the kernel can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _watch(children: dict[int, int], client: int, reports: int) -> None:
    """Reports deaths until the client's pipe ends or the client is gone."""
    from sfumato.transport.nursery import Died

    while children:
        readable, _, _ = select.select([_STDIN], [], [], _WATCH_SECONDS)
        if (readable and not os.read(_STDIN, 4096)) or os.getppid() != client:
            return
        while children and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            _report(reports, Died(cloud=children.pop(pid), status=os.waitstatus_to_exitcode(status)))


def _bury(children: dict[int, int]) -> None:
    """Waits for the clouds, which saw the pipe end too, and kills those that take too long."""
    deadline = monotonic() + _FAREWELL_SECONDS
    while children:
        pid, _ = os.waitpid(-1, os.WNOHANG)
        if pid:
            children.pop(pid, None)
        elif monotonic() > deadline:
            for late in children:
                os.kill(late, signal.SIGKILL)
            deadline += _FAREWELL_SECONDS
        else:
            select.select([], [], [], 0.02)


def _serve_model(order: "NurseryOrder") -> "SessionFactory":
    from sfumato.models.folder import find_model
    from sfumato.wire.dtypes import WIRE_DTYPES

    model = None if order.model is None else find_model(order.model)

    from sfumato.protocols.vault.store import VaultStore
    from sfumato.worker.sessions import CloudSession, serve_model

    served = None if model is None else serve_model(model, WIRE_DTYPES[order.dtype])  # type: ignore[index]
    vaults = None if order.vault is None else VaultStore(Path(order.vault))
    return lambda peers: CloudSession(served, order.idle_seconds, peers=peers, vaults=vaults)


def main() -> NoReturn:
    """Entry of ``python -m sfumato.worker.prefork``."""
    sys.exit(run(_serve_model))


if __name__ == "__main__":
    main()
