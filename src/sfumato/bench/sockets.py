"""The yardstick of the transport: blocking TLS sockets, certificates both ways, preallocated buffers."""

import os
import socket
import ssl
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Self

from sfumato.transport.key_files import make_keys

_LENGTH = Struct("<Q")
_ACCEPT_SECONDS = 60.0


class SocketClouds:
    """Processes that echo over plain TLS sockets, one connection each, driven in parallel."""

    def __init__(self, num_clouds: int):
        """Starts the processes and connects to them."""
        self._directory = tempfile.TemporaryDirectory()
        folder = Path(self._directory.name) / "keys"
        make_keys(folder, clouds=num_clouds, days=1)
        names = [f"cloud-{i + 1}" for i in range(num_clouds)]
        command = [sys.executable, __file__]
        self._processes = [
            subprocess.Popen([*command, str(folder / name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for name in names
        ]
        self._sockets = [self._connect(folder, name, p) for name, p in zip(names, self._processes, strict=True)]
        self._pool = ThreadPoolExecutor(num_clouds)
        self._buffers = [bytearray() for _ in names]

    def _connect(self, folder: Path, name: str, process: subprocess.Popen[bytes]) -> ssl.SSLSocket:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        context = ssl.create_default_context(cafile=str(folder / "client/ca.pem"))
        context.load_cert_chain(folder / "client/client.pem", folder / "client/client.key")
        plain = socket.create_connection(("127.0.0.1", port), _ACCEPT_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(plain, server_hostname=f"{name}.sfumato")

    def exchange(self, payload: bytes) -> None:
        """Sends the payload to every cloud and waits for all echoes: one round."""
        for done in [self._pool.submit(self._echo, i, payload) for i in range(len(self._sockets))]:
            done.result()

    def _echo(self, cloud: int, payload: bytes) -> None:
        connection = self._sockets[cloud]
        if len(self._buffers[cloud]) != len(payload):
            self._buffers[cloud] = bytearray(len(payload))
        connection.sendall(_LENGTH.pack(len(payload)))
        connection.sendall(payload)
        _fill(connection, memoryview(bytearray(_LENGTH.size)))
        _fill(connection, memoryview(self._buffers[cloud]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        for connection, process in zip(self._sockets, self._processes, strict=True):
            connection.close()
            process.terminate()
            process.communicate()
        self._directory.cleanup()


def _fill(connection: ssl.SSLSocket, buffer: memoryview) -> bool:
    at = 0
    while at < len(buffer):
        got = connection.recv_into(buffer[at:])
        if not got:
            return False
        at += got
    return True


def echo_once_connected(folder: Path) -> None:
    """Serves one connection until it ends: what each process of :class:`SocketClouds` runs."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "cloud.pem", folder / "cloud.key")
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_ACCEPT_SECONDS)
        os.write(1, f"{listener.getsockname()[1]}\n".encode())
        plain, _ = listener.accept()
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    length, buffer = bytearray(_LENGTH.size), bytearray()
    with context.wrap_socket(plain, server_side=True) as connection:
        while _fill(connection, memoryview(length)):
            (size,) = _LENGTH.unpack(length)
            if len(buffer) != size:
                buffer = bytearray(size)
            _fill(connection, memoryview(buffer))
            connection.sendall(length)
            connection.sendall(buffer)


if __name__ == "__main__":
    echo_once_connected(Path(sys.argv[1]))
