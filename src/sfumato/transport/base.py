"""The one seam between a protocol and the network: :meth:`Channel.exchange`, and :meth:`Channel.post`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar, final

from sfumato.errors import SfumatoError, SpecMismatch, TransportError, Unsupported, WireError, WorkerError
from sfumato.wire.messages import Message, Refusal

Reply = TypeVar("Reply", bound=Message)


class Delivered(NamedTuple):
    """One cloud's reply, with the bytes that request and reply took on the stream."""

    reply: Message
    sent_bytes: int
    received_bytes: int
    answered_seconds: float
    """From the start of the round until this reply was all there."""


@dataclass(kw_only=True)
class Tally:
    """Bytes spent on one topic at one cloud."""

    requests: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    max_sent_bytes: int = 0
    max_received_bytes: int = 0
    min_sent_bytes: int = 0
    min_received_bytes: int = 0

    def add(self, sent: int, received: int) -> None:
        """Counts one request and its reply."""
        first = self.requests == 0
        self.requests += 1
        self.sent_bytes += sent
        self.received_bytes += received
        self.max_sent_bytes = max(sent, self.max_sent_bytes)
        self.max_received_bytes = max(received, self.max_received_bytes)
        self.min_sent_bytes = sent if first else min(sent, self.min_sent_bytes)
        self.min_received_bytes = received if first else min(received, self.min_received_bytes)


@dataclass(kw_only=True)
class Traffic:
    """What one channel carried; sent is client to clouds. Only channels write it."""

    clouds: tuple[str, ...]
    rounds: int = 0
    waiting_seconds: float = 0.0
    """Time that the client spent handing rounds to the transport, and waiting until every reply was decoded."""
    codec_seconds: float = 0.0
    """The part of waiting that the client spent turning messages into bytes and back."""
    by_topic: list[dict[str, Tally]] = field(default_factory=list)
    """Per cloud: topic to tally."""
    between_bytes: list[int] = field(default_factory=list)
    """Per cloud: what it sent to other clouds, by its own word; nothing of it passes through the client."""

    def __post_init__(self) -> None:
        self.by_topic = [{} for _ in self.clouds]
        self.between_bytes = [0 for _ in self.clouds]

    def tally(self, cloud: int) -> Tally:
        """All topics of one cloud together (totals only; no extremes)."""
        total = Tally()
        for tally in self.by_topic[cloud].values():
            total.requests += tally.requests
            total.sent_bytes += tally.sent_bytes
            total.received_bytes += tally.received_bytes
        return total

    @property
    def sent_bytes(self) -> int:
        """Client to clouds, all clouds together."""
        return sum(self.tally(i).sent_bytes for i in range(len(self.clouds)))

    @property
    def received_bytes(self) -> int:
        """Clouds to client, all clouds together."""
        return sum(self.tally(i).received_bytes for i in range(len(self.clouds)))


class Target(NamedTuple):
    """Where other clouds find a cloud."""

    host: str
    port: int


IN_PROCESS = Target("127.0.0.1", 65535)
"""Stands for a cloud without an address; as long as the address of a local cloud, so that counts are the same."""


class UnderWay(NamedTuple):
    """A round that a channel has started."""

    deliver: Callable[[], list[Delivered]]
    """Waits for the replies."""
    future: Future[Any] | None = None
    """Done when they are there; None where they are already."""


class Channel(ABC):
    """A session with every cloud of one run, in lock step: each round asks every cloud.

    Closing it ends the sessions. A channel that raised is dead: no fall-back, no retry with fewer clouds.
    """

    is_recorded = False
    """Whether what passes here is written down, and taken for all that the clouds see."""

    def __init__(self, clouds: Sequence[str], targets: Sequence[Target] = ()):
        self.clouds = tuple(clouds)
        """Their names."""
        self.traffic = Traffic(clouds=self.clouds)
        """Of the whole run, where this is a part of another channel."""
        self.targets = tuple(targets) or (IN_PROCESS,) * len(clouds)
        """Where clouds that meet find each other."""
        self.numbers = range(len(self.clouds))
        """Which clouds of the run they are, counted from 0."""
        self._live = set(self.numbers)
        """Clouds whose session has not ended; shared with the channels that are parts of this one."""

    @property
    def num_clouds(self) -> int:
        """How many clouds take part."""
        return len(self.clouds)

    @final
    def exchange(self, requests: Sequence[Message], reply: type[Reply]) -> list[Reply]:
        """Sends one message to each cloud, in parallel, and waits for every reply: one round.

        Args:
            requests: one per cloud, in the order of the clouds.
            reply: the kind that each cloud must answer with.

        The first failure closes the channel: the sessions at the other clouds end with it.

        Raises:
            TransportError: a cloud died, hung or refused us, or the channel is closed.
            WireError: a reply was damaged or of another kind.
            WorkerError, SpecMismatch: a cloud said no.
        """
        return self.post(requests, reply).wait()

    @final
    def post(self, requests: Sequence[Message], reply: type[Reply]) -> "Pending[Reply]":
        """Starts a round, and returns while it is under way; every cloud answers in the order in which it was asked.

        Args and errors are those of :meth:`exchange`.
        """
        if len(requests) != self.num_clouds:
            raise AssertionError(f"{len(requests)} messages for {self.num_clouds} clouds")
        if not self._live.issuperset(self.numbers):
            raise TransportError("the sessions with the clouds have ended; open a new channel")
        with self._working():
            return Pending(self, requests, reply, self._start(self.numbers, requests, (reply, Refusal)))

    def first(self, rounds: "Sequence[Pending[Reply]]") -> "Pending[Reply]":
        """Waits until one of several rounds under way is answered, or has failed; of several the one posted first."""
        with self._working():
            futures = [r.future for r in rounds]
            if all(f is not None and not f.done() for f in futures):
                wait([f for f in futures if f is not None], return_when=FIRST_COMPLETED)
            return next(r for r, f in zip(rounds, futures, strict=True) if f is None or f.done())

    def count_between(self, sent_bytes: Sequence[int]) -> None:
        """Adds what every cloud says that it sent to other clouds."""
        for cloud, sent in zip(self.numbers, sent_bytes, strict=True):
            self.traffic.between_bytes[cloud] += sent

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Counts the time that the caller spends in here; a failure ends the sessions."""
        started = perf_counter()
        try:
            yield
        except BaseException:
            self.close()
            raise
        finally:
            self.traffic.waiting_seconds += perf_counter() - started

    def _finish(
        self, requests: Sequence[Message], kind: type[Reply], deliver: Callable[[], list[Delivered]]
    ) -> list[Reply]:
        with self._working():
            delivered = deliver()
            self.traffic.rounds += 1
            for i, request, d in zip(self.numbers, requests, delivered, strict=True):
                tally = self.traffic.by_topic[i].setdefault(request.topic, Tally())
                tally.add(d.sent_bytes, d.received_bytes)
            return [self._accept(i, d.reply, kind) for i, d in enumerate(delivered)]

    def _accept(self, cloud: int, message: Message, kind: type[Reply]) -> Reply:
        if isinstance(message, kind):
            return message
        if isinstance(message, Refusal):
            raise as_error(message, self.clouds[cloud])
        raise WireError(f"{self.clouds[cloud]} answered {type(message).__name__} where {kind.__name__} was due")

    @abstractmethod
    def _start(self, clouds: range, requests: Sequence[Message], kinds: tuple[type[Message], ...]) -> "UnderWay":
        """Starts a round with some clouds, one request each; ``kinds`` are the replies that may come."""

    def _end(self, clouds: Sequence[int]) -> None:
        """Ends the sessions with some clouds; called once for each cloud."""

    @final
    def close(self) -> None:
        """Ends the sessions; safe to call twice."""
        self._close(self.numbers)

    @final
    def _close(self, clouds: Sequence[int]) -> None:
        if ending := sorted(self._live.intersection(clouds)):
            self._live.difference_update(ending)
            self._end(ending)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Pending(Generic[Reply]):
    """A round under way."""

    def __init__(self, channel: Channel, requests: Sequence[Message], reply: type[Reply], under_way: UnderWay):
        self.future = under_way.future
        self._finish = partial(channel._finish, requests, reply, under_way.deliver)

    def wait(self) -> list[Reply]:
        """Every cloud's reply, in their order; called once.

        Raises:
            TransportError, WireError, WorkerError, SpecMismatch: as :meth:`Channel.exchange`.
        """
        return self._finish()


_REFUSALS: dict[str, type[SfumatoError]] = {
    "SpecMismatch": SpecMismatch,
    "Unsupported": Unsupported,
    "WireError": WireError,
}


def as_error(refusal: Refusal, cloud: str) -> SfumatoError:
    """The exception that a cloud's refusal stands for; the sentence is cut to what a terminal can show."""
    sentence = "".join(c for c in refusal.sentence if c.isprintable())[:500]
    return _REFUSALS.get(refusal.error, WorkerError)(f"{cloud}: {sentence}")
