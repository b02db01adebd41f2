"""The streams between one cloud and the others of a run, as a session uses them.

A cloud contacts nobody but the clouds that its client introduced, and sends nothing before the other side has proved
that cloud's name under the authority of its own keys. Of two clouds the one with the lower number opens the stream; it
proves its own name, and then that it knows the secret that the client gave to these two for this run.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from sfumato.errors import AccessRefused, TransportError, WireError
from sfumato.transport.address import CloudAddress
from sfumato.transport.certificates import is_for_clients
from sfumato.transport.keys import CloudKeys, cloud_name
from sfumato.transport.peer_stream import PeerStream, open_peer_stream
from sfumato.transport.peers import Found, Peers
from sfumato.transport.stream import KeepAlive, Received
from sfumato.wire.codec import Encoded, decode, encode
from sfumato.wire.messages import Introduction, Message
from sfumato.worker.reader import give_up
from sfumato.worker.reception import Expected, Key, Reception

_GRACE_SECONDS = 1.0
"""Before a stream that ended is reported: a cloud that ended it for a reason tells the client so first."""

Result = TypeVar("Result")


class StreamedPeers(Peers):
    """One session's streams to other clouds. The session's thread waits, the event loop moves the bytes.

    Args:
        reception: of this cloud's service.
        keys: this cloud's.
        patience_seconds: how long another cloud may let this one wait.
        keep_alive: how soon a frozen cloud is noticed.
    """

    def __init__(self, reception: Reception, keys: CloudKeys, patience_seconds: float, keep_alive: KeepAlive):
        self._reception = reception
        self._keys = keys
        self._patience_seconds = patience_seconds
        self._keep_alive = keep_alive
        self._loop = asyncio.get_running_loop()
        self._expected: dict[Key, Expected] = {}
        self._opened: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """What closes the streams that this cloud opened."""
        self._streams: dict[int, PeerStream] = {}
        self._under_way: asyncio.Task[Any] | None = None
        self._sent_bytes = 0
        self._closed = False

    def expect(self, introduction: Introduction, own: int) -> None:
        """Waits for clouds of lower numbers from now on."""
        if introduction.first < 0:
            raise WireError("an introduction counts clouds from below 0")
        self._own, self._introduction = own, introduction
        if self._keys.name != self._name(own):
            raise AccessRefused(f"it holds the keys of {self._keys.name} and was met as {self._name(own)}")
        if not is_for_clients(self._keys.certificate):
            raise AccessRefused(
                "its certificate is good as a server only, and clouds that meet open streams: make new keys with "
                "`sfumato keys`"
            )
        self._addresses = _addresses(introduction)
        self._call(self._await_lower())

    def _name(self, cloud: int) -> str:
        return cloud_name(self._introduction.first + cloud)

    async def _await_lower(self) -> None:
        introduction = self._introduction
        for cloud, secret in zip(introduction.clouds, introduction.secrets, strict=True):
            if cloud < self._own:
                key = introduction.run, introduction.first + cloud
                if key in self._reception.expected:
                    raise WireError("it knows a run of this name already")
                self._expected[key] = self._reception.expected[key] = Expected(secret)

    def connect(self) -> None:
        """Opens a stream to each cloud of a higher number, and waits for the others'."""
        self._call(self._connect())

    async def _connect(self) -> None:
        async def come(cloud: int, expected: Expected) -> None:
            self._streams[cloud] = await expected.stream

        lower = {number - self._introduction.first: expected for (_, number), expected in self._expected.items()}
        ways = {cloud: come(cloud, expected) for cloud, expected in lower.items()}
        for cloud, secret in zip(self._introduction.clouds, self._introduction.secrets, strict=True):
            if cloud > self._own:
                ways[cloud] = self._open(cloud, secret)
        late = "did not connect with it: clouds must reach each other where the client reaches them"
        await self._all(ways, late)

    async def _open(self, cloud: int, secret: str) -> None:
        address = self._addresses[cloud]
        stream, close = await open_peer_stream(address, self._keys, self._introduction.run, secret, self._keep_alive)
        self._streams[cloud] = stream
        self._opened.append(close)

    def exchange(self, sent: Mapping[int, Message], due: Mapping[int, int], kind: type[Found]) -> dict[int, Found]:
        """Encodes and decodes in the session's thread."""
        encoded = {cloud: encode(message) for cloud, message in sent.items()}
        received = self._call(self._exchange(encoded, due))
        found = {}
        for cloud, raw in received.items():
            try:
                found[cloud] = decode(raw.header, raw.data, [kind], max_data_bytes=due[cloud])
            except WireError as error:
                raise WireError(f"{self._name(cloud)}: {error}") from error
        return found

    async def _exchange(self, sent: Mapping[int, Encoded], due: Mapping[int, int]) -> dict[int, Received]:
        found: dict[int, Received] = {}

        async def both(cloud: int) -> None:
            stream = self._streams[cloud]
            sending = asyncio.ensure_future(stream.send(sent[cloud]) if cloud in sent else _nothing())
            try:
                if cloud in due:
                    found[cloud] = await stream.receive(due[cloud])
                sent_bytes = await sending
                self._sent_bytes += sent_bytes
            except WireError as error:
                raise WireError(f"{self._name(cloud)}: {error}") from error
            except TransportError as error:
                await asyncio.sleep(_GRACE_SECONDS)
                raise TransportError(f"{self._name(cloud)} {error}") from error
            finally:
                give_up(sending)

        await self._all({cloud: both(cloud) for cloud in sorted({*sent, *due})}, "did not come to the same place")
        return found

    async def _all(self, ways: Mapping[int, Coroutine[Any, Any, None]], late: str) -> None:
        """Goes all ways at once; the first failure ends the others, and so does time."""
        tasks = {asyncio.ensure_future(way): cloud for cloud, way in ways.items()}
        try:
            done, waiting = await asyncio.wait(
                tasks, timeout=self._patience_seconds, return_when=asyncio.FIRST_EXCEPTION
            )
            for task in done:
                task.result()
            if waiting:
                names = ", ".join(self._name(tasks[task]) for task in tasks if task in waiting)
                raise TransportError(f"{names} {late} (waited {self._patience_seconds:g} s)")
        finally:
            for task in tasks:
                give_up(task)

    def take_sent_bytes(self) -> int:
        """Bytes since the last call."""
        sent, self._sent_bytes = self._sent_bytes, 0
        return sent

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Runs something on the event loop; ends with the session if that ends first."""
        return asyncio.run_coroutine_threadsafe(self._until_closed(work), self._loop).result()

    async def _until_closed(self, work: Coroutine[Any, Any, Result]) -> Result:
        if self._closed:
            work.close()
            raise TransportError("the session has ended")
        task = self._under_way = asyncio.ensure_future(work)
        try:
            return await task
        except asyncio.CancelledError:
            raise TransportError("the session has ended") from None
        finally:
            self._under_way = None

    def close(self) -> None:
        """Ends all streams, and whatever the session's thread waits for; on the event loop."""
        self._closed = True
        if self._under_way is not None:
            self._under_way.cancel()
        for key, expected in self._expected.items():
            del self._reception.expected[key]
            if expected.stream.done():
                expected.stream.result().end()
        for close in self._opened:
            self._reception.run(close())


async def _nothing() -> int:
    return 0


def _addresses(introduction: Introduction) -> dict[int, CloudAddress]:
    """Where the other clouds are.

    Raises:
        WireError: a host or port that cannot be.
    """
    try:
        return {
            cloud: CloudAddress(host=host, port=port, name=cloud_name(introduction.first + cloud))
            for cloud, host, port in zip(introduction.clouds, introduction.hosts, introduction.ports, strict=True)
        }
    except ValueError as error:
        raise WireError(f"an introduction cannot be followed: {error}") from error
