"""All parties in one process: for simulation, tests, sweeps and exact counting on the meta device."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import NamedTuple, Self

from sfumato.errors import TransportError, WireError
from sfumato.transport.base import Channel, Delivered, UnderWay, as_error
from sfumato.transport.peers import Found, Peers
from sfumato.wire.codec import encoded_size
from sfumato.wire.messages import Introduction, Message, Refusal

Handler = Callable[[Message], Message]
"""A cloud's side of one session: request in, reply out. Errors become :class:`Refusal` there, not here."""

_PATIENCE_SECONDS = 600.0


class InProcessChannel(Channel):
    """Calls each cloud's handler directly, and counts the bytes that the same round takes on a stream.

    Args:
        handlers: one per cloud.
        peers: what the same clouds meet each other with, where they may.
    """

    def __init__(self, handlers: Sequence[Handler], peers: "Sequence[InProcessPeers]" = ()):
        super().__init__([f"cloud-{i + 1}" for i in range(len(handlers))])
        self._clouds = Handlers(handlers, peers, self.clouds)

    def _start(
        self,
        clouds: range,
        requests: Sequence[Message],
        kinds: tuple[type[Message], ...],  # noqa: ARG002
    ) -> UnderWay:
        answered = self._clouds.answer(clouds, requests)
        delivered = [
            Delivered(found.reply, encoded_size(request), encoded_size(found.reply), found.seconds)
            for request, found in zip(requests, answered, strict=True)
        ]
        return UnderWay(lambda: delivered)

    def _end(self, clouds: Sequence[int]) -> None:
        self._clouds.end(clouds)


class Answered(NamedTuple):
    """One cloud's reply, and when it was there, counted from the start of the round."""

    reply: Message
    seconds: float


class Handlers:
    """The handlers of all clouds: called one after another, or each in a thread of its own once they have met.

    Clouds that wait for each other cannot take turns. A cloud keeps its thread, in which its computation is suspended.
    """

    def __init__(self, handlers: Sequence[Handler], peers: "Sequence[InProcessPeers]", names: Sequence[str]):
        self._handlers = list(handlers)
        self._peers = list(peers)
        self._names = list(names)
        self._threads: list[ThreadPoolExecutor] = []

    def answer(self, clouds: range, requests: Sequence[Message]) -> list[Answered]:
        """Asks some clouds.

        Raises:
            SfumatoError: a cloud that has met others refused.
        """
        started = perf_counter()

        def ask(handler: Handler, request: Message) -> Answered:
            reply = handler(request)
            return Answered(reply, perf_counter() - started)

        calls = [(self._handlers[i], request) for i, request in zip(clouds, requests, strict=True)]
        if not any(self._peers[i].have_met for i in clouds if self._peers):
            return [ask(handler, request) for handler, request in calls]
        if not self._threads:
            self._threads = [ThreadPoolExecutor(1, thread_name_prefix=name) for name in self._names]
        return self._wait({self._threads[i].submit(ask, *call): i for i, call in zip(clouds, calls, strict=True)})

    def _wait(self, answers: "dict[Future[Answered], int]") -> list[Answered]:
        """Waits for all; the first that fails leaves the others, who then fail soon, and tells why."""
        failed: Future[Answered] | None = None
        for answer in as_completed(answers):
            if answer.exception() is not None or isinstance(answer.result().reply, Refusal):
                failed = failed or answer
                self._peers[answers[answer]].leave()
        if failed is not None:
            refusal = failed.result().reply
            assert isinstance(refusal, Refusal)
            raise as_error(refusal, self._names[answers[failed]])
        return [answer.result() for answer in answers]

    def end(self, clouds: Sequence[int]) -> None:
        """Ends the threads of some clouds, also of those that wait for others."""
        for cloud in clouds:
            if self._peers:
                self._peers[cloud].leave()
            if self._threads:
                self._threads[cloud].shutdown(wait=False)


class InProcessPeers(Peers):
    """Hands messages over through queues, and counts what they would take on a stream."""

    def __init__(self, own: int, boxes: "Mapping[tuple[int, int], SimpleQueue[Message | None]]"):
        self._number = own
        self._boxes = boxes
        self._first = 0
        self._sent_bytes = 0
        self.have_met = False
        """Whether streams were asked for."""
        self._exchanges: list[int] = []

    @classmethod
    def of_all(cls, num_clouds: int) -> list[Self]:
        """For every cloud of a run."""
        clouds = range(num_clouds)
        boxes: dict[tuple[int, int], SimpleQueue[Message | None]] = {
            (i, j): SimpleQueue() for i in clouds for j in clouds if i != j
        }
        return [cls(i, boxes) for i in clouds]

    def expect(self, introduction: Introduction, own: int) -> None:  # noqa: ARG002
        """Nothing to prepare, but to know the others by their numbers in the run."""
        self._first = introduction.first

    def connect(self) -> None:
        """The queues are there."""
        self.have_met = True

    def exchange(self, sent: Mapping[int, Message], due: Mapping[int, int], kind: type[Found]) -> dict[int, Found]:
        """Puts messages into the others' boxes, and takes those that are in its own."""
        sizes = [encoded_size(message) for message in sent.values()]
        self._sent_bytes += sum(sizes)
        self._exchanges.append(sum(sizes))
        for cloud, message in sent.items():
            self._boxes[self._number, self._first + cloud].put(message)
        return {cloud: self._take(self._first + cloud, kind) for cloud in due}

    def _take(self, cloud: int, kind: type[Found]) -> Found:
        try:
            message = self._boxes[cloud, self._number].get(timeout=_PATIENCE_SECONDS)
        except Empty:
            raise TransportError(f"cloud-{cloud + 1} sent nothing for {_PATIENCE_SECONDS:g} s") from None
        if message is None:
            raise TransportError(f"cloud-{cloud + 1} has left")
        if not isinstance(message, kind):
            raise WireError(f"cloud-{cloud + 1} sent a {type(message).__name__}, which does not belong here")
        return message

    def leave(self) -> None:
        """Tells all others not to wait for this cloud any more."""
        for (sender, _), box in self._boxes.items():
            if sender == self._number:
                box.put(None)

    def take_sent_bytes(self) -> int:
        """Bytes since the last call."""
        sent, self._sent_bytes = self._sent_bytes, 0
        return sent

    def take_exchanges(self) -> list[int]:
        """Bytes that this cloud sent in each exchange since the last call."""
        found, self._exchanges = self._exchanges, []
        return found
