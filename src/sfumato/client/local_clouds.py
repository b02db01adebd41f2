"""Clouds on this machine: processes on loopback with throw-away keys, stopped at the end whatever happens."""

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from sfumato import errors
from sfumato.errors import SfumatoError, TransportError

if TYPE_CHECKING:
    from sfumato.transport.address import CloudAddress
    from sfumato.transport.base import Channel
    from sfumato.transport.keys import ClientKeys
    from sfumato.transport.nursery import Report

_NURSERY = (sys.executable, "-m", "sfumato.worker.prefork")
_READY_SECONDS = 300.0
_STOP_SECONDS = 4.0


class LocalClouds:
    """Starts ``num_clouds`` processes that share one import and one copy of the weights.

    :meth:`start` returns at once, so that the caller can load its own half meanwhile; :meth:`wait_until_ready`, or
    the first :meth:`open_channel`, waits for the clouds.

    Example:
        >>> with LocalClouds(folder, 4) as clouds, clouds.open_channel() as channel:
        ...     channel.exchange(requests, Reply)
    """

    def __init__(
        self,
        model: str | Path | None,
        num_clouds: int,
        *,
        dtype: str = "fp32",
        threads: int | None = None,
        idle_seconds: float = 300.0,
        vault: Path | None = None,
        log: Path | None = None,
        nursery: Sequence[str] = _NURSERY,
    ):
        """Takes what the clouds shall serve; starts nothing yet.

        Args:
            model: folder or name; None for clouds that only keep vaults.
            num_clouds: how many processes.
            dtype: of their weights and arithmetic: fp32, fp16 or bf16.
            threads: computing threads of each; by default the cores are divided among them.
            idle_seconds: silence after which a cloud ends a session.
            vault: folder in which the cloud, which is then one, keeps vaults.
            log: file that the clouds' logs are added to; by default they are kept for a failed start only.
            nursery: command that serves them.
        """
        if num_clouds < 1:
            raise ValueError(f"num_clouds must be at least 1, got {num_clouds}")
        self._model = None if model is None else str(model)
        self._vault = None if vault is None else str(vault.absolute())
        self._num_clouds = num_clouds
        self._dtype = dtype
        self._threads = threads or max(1, (os.cpu_count() or 1) // num_clouds)
        self._idle_seconds = idle_seconds
        self._log_path = log
        self._nursery = list(nursery)
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._closed = False
        self._unread = b""
        self._ports: dict[int, int] = {}
        self._keys: ClientKeys | None = None

    def start(self) -> Self:
        """Starts the processes and returns without waiting for them."""
        if self._closed:
            raise TransportError("these local clouds were stopped; make new ones")
        if self._process is not None:
            return self
        self._log = self._log_path.open("ab") if self._log_path else tempfile.TemporaryFile()  # noqa: SIM115
        # Own session: Ctrl-C in the terminal reaches the client alone, whose end the clouds then follow.
        self._process = subprocess.Popen(
            self._nursery,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(),
            start_new_session=True,
        )
        try:
            self._give_order(self._process)
        except BaseException:
            self.close()
            raise
        return self

    def _give_order(self, process: subprocess.Popen[bytes]) -> None:
        from sfumato.transport.keys import throw_away_keys
        from sfumato.transport.nursery import NurseryOrder

        ring = throw_away_keys(self._num_clouds)
        self._keys = ring.client
        order = NurseryOrder(
            model=self._model,
            dtype=self._dtype,
            threads=self._threads,
            idle_seconds=self._idle_seconds,
            vault=self._vault,
            clouds=ring.clouds,
        )
        assert process.stdin is not None
        try:
            process.stdin.write(order.to_line())
            process.stdin.flush()
        except BrokenPipeError:
            pass  # It has ended; what it said before is read by whoever waits for it.

    def wait_until_ready(self, timeout_seconds: float = _READY_SECONDS) -> None:
        """Waits until every cloud listens.

        Raises:
            ModelError: the clouds cannot load the model.
            TransportError: they did not start, or not in time.
        """
        from sfumato.transport.nursery import Died, Failed, Listening

        self.start()
        deadline = monotonic() + timeout_seconds
        try:
            while len(self._ports) < self._num_clouds:
                match self._next_report(deadline):
                    case Listening(cloud=cloud, port=port):
                        self._ports[cloud] = port
                    case Died(cloud=cloud):
                        raise TransportError(f"the local cloud-{cloud + 1} died while starting: {self._last_words()}")
                    case Failed(error=error, sentence=sentence):
                        raise _named_error(error)(sentence)
        except BaseException:
            self.close()
            raise

    def _next_report(self, deadline: float) -> "Report":
        from sfumato.transport.nursery import report_from_line

        assert self._process is not None
        assert self._process.stdout is not None
        while b"\n" not in self._unread:
            pipe = self._process.stdout.fileno()
            if not select.select([pipe], [], [], max(0.0, deadline - monotonic()))[0]:
                raise TransportError("the local clouds did not start in time: the machine is overloaded")
            if not (piece := os.read(pipe, 65536)):
                raise self._no_start()
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        return report_from_line(line)

    def _no_start(self) -> TransportError:
        return TransportError(f"the local clouds did not start: {self._last_words()}")

    def _last_words(self) -> str:
        if self._log is None or self._log_path is not None:
            return f"see {self._log_path}"
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(_STOP_SECONDS)
        self._log.seek(0)
        lines = self._log.read()[-4096:].decode("utf-8", "replace").strip().splitlines()
        return "".join(c for c in lines[-1] if c.isprintable())[:300] if lines else "they said nothing"

    @property
    def addresses(self) -> "tuple[CloudAddress, ...]":
        """Where the clouds listen, in order; waits for them."""
        from sfumato.transport.address import CloudAddress
        from sfumato.transport.keys import cloud_name

        self.wait_until_ready()
        return tuple(
            CloudAddress(host="127.0.0.1", port=self._ports[i], name=cloud_name(i)) for i in range(self._num_clouds)
        )

    @property
    def keys(self) -> "ClientKeys":
        """The client's throw-away keys."""
        self.start()
        assert self._keys is not None
        return self._keys

    @contextmanager
    def open_channel(self, **settings: Any) -> "Iterator[Channel]":
        """Opens a session with every cloud; waits for them first.

        Args:
            settings: passed on to :class:`~sfumato.transport.grpc_client.GrpcChannel`.
        """
        from sfumato.transport.grpc_client import GrpcChannel

        with GrpcChannel(self.addresses, self.keys, **settings) as channel:
            yield channel

    def close(self) -> None:
        """Stops every process, with force if need be; safe to call twice."""
        self._closed = True
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        if self._log is not None:
            self._log.close()
            self._log = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        process.stdout.close()


def _environment() -> dict[str, str]:
    """Idle computing threads sleep instead of spinning: the clouds share the cores with each other and us."""
    return {**os.environ, "OMP_WAIT_POLICY": "passive", "OPENBLAS_NUM_THREADS": "1"}


def _named_error(name: str) -> type[Exception]:
    found = getattr(errors, name, None)
    if isinstance(found, type) and issubclass(found, SfumatoError):
        return found
    return ValueError if name == "ValueError" else TransportError
