"""The dry run: the real halves of a protocol talk over a channel in this process, on the meta device.

Nothing is computed and no weights are read, but every message is the one that a real run sends, so bytes and rounds
are exact. FLOPs are those of the operations that each side dispatches, work done twice at strip borders included.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sfumato.client.catalog import client_half
from sfumato.client.sessions import open_session
from sfumato.cost.shapes import ShapesOnly
from sfumato.errors import Unsupported
from sfumato.models.denoiser import Conditioning
from sfumato.protocols.base import Spec
from sfumato.protocols.client_half import StepwiseClient
from sfumato.tensors import Latent
from sfumato.transport.base import Channel, Delivered, Pending, Reply, Traffic, UnderWay
from sfumato.transport.in_process import Handler, Handlers, InProcessPeers
from sfumato.wire.codec import encoded_size
from sfumato.wire.messages import Message
from sfumato.worker.sessions import CloudSession, ServedModel

COUNTED_FINGERPRINT = "0" * 64
"""Stands in for the model's fingerprint, which needs weights; as long as a real one."""


@dataclass(frozen=True)
class Round:
    """One exchange with every cloud."""

    topic: str
    sent_bytes: tuple[int, ...]
    """Per cloud."""
    received_bytes: tuple[int, ...]
    cloud_flops: tuple[int, ...]
    """Per cloud."""
    between: tuple[tuple[int, ...], ...] = ()
    """Before the clouds answer they exchange so many messages among themselves: bytes that each cloud sends."""


@dataclass(frozen=True)
class Event:
    """The client posts a round, or waits for one; between two events it computes."""

    client_flops: int
    """Since the event before."""
    round: int
    """Index of the round within the part."""
    is_wait: bool
    is_any: bool = False
    """Whether the client takes whichever of the rounds under way is answered first; here it was this one."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a run: the handshake, or a step."""

    rounds: tuple[Round, ...]
    events: tuple[Event, ...]
    """In the client's order; rounds overlap where one is posted before another is waited for."""
    client_flops_after: int
    """Since the last event."""

    @property
    def client_flops(self) -> int:
        """All that the client computed."""
        return sum(e.client_flops for e in self.events) + self.client_flops_after


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a run of one cycle of steps, and of those before it, exchanged."""

    opening: Part
    """The handshake."""
    before: tuple[Part, ...]
    """The steps before the cycle, at least one."""
    cycle: tuple[Part, ...]
    """The steps that repeat: often one."""
    traffic: Traffic
    """The channel's own counters over all of it."""

    @property
    def cycle_rounds(self) -> list[Round]:
        """Of all steps of the cycle."""
        return [r for step in self.cycle for r in step.rounds]


class _Answers(NamedTuple):
    """Of all clouds in one round."""

    replies: list[Message]
    flops: tuple[int, ...]
    between: tuple[tuple[int, ...], ...]


class _Clouds(ABC):
    """What answers the requests of a round."""

    @abstractmethod
    def answer(self, requests: Sequence[Message], flops_since: Callable[[], int]) -> _Answers:
        """Asks every cloud; ``flops_since`` counts what this thread computed since its last call."""

    @abstractmethod
    def end(self) -> None:
        """Ends what was started."""


class _TakingTurns(_Clouds):
    """Clouds that do not meet."""

    def __init__(self, handlers: Sequence[Handler]):
        self._handlers = handlers

    def answer(self, requests: Sequence[Message], flops_since: Callable[[], int]) -> _Answers:
        """Asks one after another."""
        found = [(handler(request), flops_since()) for handler, request in zip(self._handlers, requests, strict=True)]
        return _Answers([reply for reply, _ in found], tuple(flops for _, flops in found), ())

    def end(self) -> None:
        """Nothing was started."""


class _Meeting(_Clouds):
    """Clouds that wait for each other, each in its thread and with a count of its own."""

    def __init__(self, handlers: Sequence[Handler], peers: Sequence[InProcessPeers]):
        self._shapes = [ShapesOnly() for _ in handlers]
        watched = [_inside(shapes, handler) for shapes, handler in zip(self._shapes, handlers, strict=True)]
        self._threads = Handlers(watched, peers, [f"cloud-{i + 1}" for i in range(len(handlers))])
        self._peers = peers

    def answer(self, requests: Sequence[Message], flops_since: Callable[[], int]) -> _Answers:  # noqa: ARG002
        """Asks all at once."""
        before = [shapes.flops for shapes in self._shapes]
        replies = [found.reply for found in self._threads.answer(range(len(requests)), requests)]
        flops = tuple(shapes.flops - known for shapes, known in zip(self._shapes, before, strict=True))
        between = tuple(zip(*(peers.take_exchanges() for peers in self._peers), strict=True))
        return _Answers(replies, flops, between)

    def end(self) -> None:
        """Ends the threads."""
        self._threads.end(range(len(self._peers)))


def _inside(shapes: ShapesOnly, handler: Handler) -> Handler:
    def handle(request: Message) -> Message:
        with shapes:
            return handler(request)

    return handle


class _WatchedChannel(Channel):
    """Calls each cloud's handler directly, and writes down who sent, computed and waited for what.

    Args:
        handlers: one per cloud.
        peers: what the clouds meet by, if they do.
    """

    def __init__(self, handlers: Sequence[Handler], peers: Sequence[InProcessPeers]):
        super().__init__([f"cloud-{i + 1}" for i in range(len(handlers))])
        self._clouds: _Clouds = _Meeting(handlers, peers) if peers else _TakingTurns(handlers)
        self.shapes = ShapesOnly()
        self._flops_seen = 0
        self._rounds: list[Round] = []
        self._events: list[Event] = []
        self._takes_any = False

    def _start(
        self,
        clouds: range,  # noqa: ARG002
        requests: Sequence[Message],
        kinds: tuple[type[Message], ...],  # noqa: ARG002
    ) -> UnderWay:
        number = len(self._rounds)
        self._events.append(Event(self._flops_since(), number, is_wait=False))
        answers = self._clouds.answer(requests, self._flops_since)
        delivered = [
            Delivered(reply, encoded_size(request), encoded_size(reply), 0.0)
            for request, reply in zip(requests, answers.replies, strict=True)
        ]
        sent, received = tuple(d.sent_bytes for d in delivered), tuple(d.received_bytes for d in delivered)
        self._rounds.append(Round(requests[0].topic, sent, received, answers.flops, answers.between))

        def deliver() -> list[Delivered]:
            self._events.append(Event(self._flops_since(), number, is_wait=True, is_any=self._takes_any))
            self._takes_any = False
            return delivered

        return UnderWay(deliver)

    def first(self, rounds: Sequence[Pending[Reply]]) -> Pending[Reply]:
        """The one posted first, for all are answered at once."""
        self._takes_any = len(rounds) > 1
        return super().first(rounds)

    def _flops_since(self) -> int:
        """FLOPs since the last call."""
        flops = self.shapes.flops - self._flops_seen
        self._flops_seen = self.shapes.flops
        return flops

    def _end(self, clouds: Sequence[int]) -> None:  # noqa: ARG002
        self._clouds.end()

    def take(self) -> Part:
        """What happened since the last call."""
        part = Part(rounds=tuple(self._rounds), events=tuple(self._events), client_flops_after=self._flops_since())
        self._rounds, self._events = [], []
        return part


def _stepwise(spec: Spec) -> StepwiseClient:
    half = client_half(spec)
    if not isinstance(half, StepwiseClient):
        raise Unsupported(
            f"{spec.name} has no denoising step that can be counted without computing: measure a run with "
            "sfumato generate --report"
        )
    return half


def dry_run(spec: Spec, unet: nn.Module, latent: Latent, conditioning: Conditioning) -> DryRun:
    """Runs a protocol's denoising steps until they repeat and writes down what they exchange.

    Args:
        spec: of a step-wise protocol.
        unet: on the meta device; clouds and client use the same one.
        latent: scaled latent, meta.
        conditioning: meta, with twice the latent's batch under guidance.

    Raises:
        Unsupported: the protocol is not step-wise, or cannot run this model.
        ValueError: the number of clouds does not fit the picture.
    """
    half = _stepwise(spec)
    served = ServedModel(unet=unet, fingerprint=COUNTED_FINGERPRINT)
    peers = InProcessPeers.of_all(spec.num_clouds)
    handlers = [CloudSession(served, peers=each).handle for each in peers]
    with _WatchedChannel(handlers, peers if spec.peers_of(0) else []) as channel:
        open_session(channel, spec, COUNTED_FINGERPRINT)
        opening = channel.take()
        with torch.no_grad(), channel.shapes, half.denoiser(unet, channel) as denoiser:
            steps = []
            for remaining in reversed(range(sum(spec.step_cycle))):
                denoiser(latent, _timestep(remaining), conditioning)
                steps.append(channel.take())
    before = spec.step_cycle.before
    return DryRun(opening=opening, before=tuple(steps[:before]), cycle=tuple(steps[before:]), traffic=channel.traffic)


def _timestep(value: int) -> Tensor:
    # Real, not meta: a client may send its number.
    return torch.tensor(value)
