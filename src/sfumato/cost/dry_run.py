"""The dry run: the real halves of a protocol talk over an in-process channel, on the meta device.

Nothing is computed and no weights are read, but every message is the one that a real run sends, so bytes and rounds
are exact. FLOPs are those of the operations that each side dispatches, work done twice at strip borders included.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sfumato.client.catalog import client_half
from sfumato.client.sessions import open_session
from sfumato.cost.shapes import ShapesOnly
from sfumato.errors import Unsupported
from sfumato.models.denoiser import Conditioning, Denoiser
from sfumato.protocols.base import Spec, StepwiseClient
from sfumato.tensors import Latent
from sfumato.transport.base import Traffic
from sfumato.transport.in_process import Handler, InProcessChannel
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


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a run of two steps exchanged."""

    opening: tuple[Round, ...]
    """The handshake."""
    steps: tuple[tuple[Round, ...], tuple[Round, ...]]
    client_flops: int
    """Of the second step."""
    traffic: Traffic
    """The channel's own counters over all of it."""

    @property
    def step(self) -> tuple[Round, ...]:
        """Every step but the first."""
        return self.steps[1]


@dataclass
class _Answer:
    topic: str
    sent_bytes: int
    received_bytes: int
    flops: int


@dataclass
class _Ledger:
    """Writes down what each cloud was asked."""

    shapes: ShapesOnly
    answers: list[list[_Answer]] = field(default_factory=list)

    def watch(self, handler: Handler) -> Handler:
        """Wraps one cloud's handler."""
        mine: list[_Answer] = []
        self.answers.append(mine)

        def watched(request: Message) -> Message:
            before = self.shapes.flops
            reply = handler(request)
            flops = self.shapes.flops - before
            mine.append(_Answer(request.topic, encoded_size(request), encoded_size(reply), flops))
            return reply

        return watched

    def take(self) -> tuple[Round, ...]:
        """The rounds since the last call."""
        rounds = tuple(
            Round(
                answers[0].topic,
                tuple(a.sent_bytes for a in answers),
                tuple(a.received_bytes for a in answers),
                tuple(a.flops for a in answers),
            )
            for answers in zip(*self.answers, strict=True)
        )
        for mine in self.answers:
            mine.clear()
        return rounds


@contextmanager
def _remote(spec: Spec, unet: nn.Module, channel: InProcessChannel) -> Iterator[Denoiser]:
    half = client_half(spec)
    if not isinstance(half, StepwiseClient):
        raise Unsupported(
            f"{spec.name} has no denoising step that repeats: measure a run with sfumato generate --report"
        )
    with half.denoiser(unet, channel) as denoiser:
        yield denoiser


def dry_run(spec: Spec, unet: nn.Module, latent: Latent, conditioning: Conditioning) -> DryRun:
    """Runs two denoising steps of a protocol and writes down what they exchange.

    Args:
        spec: of a step-wise protocol.
        unet: on the meta device; clouds and client use the same one.
        latent: scaled latent, meta.
        conditioning: meta, with twice the latent's batch under guidance.

    Raises:
        Unsupported: the protocol is not step-wise, or cannot run this model.
        ValueError: the number of clouds does not fit the picture.
    """
    ledger = _Ledger(ShapesOnly())
    served = ServedModel(unet=unet, fingerprint=COUNTED_FINGERPRINT)
    channel = InProcessChannel([ledger.watch(CloudSession(served).handle) for _ in range(spec.num_clouds)])
    open_session(channel, spec, COUNTED_FINGERPRINT)
    opening = ledger.take()
    with torch.no_grad(), ledger.shapes, _remote(spec, unet, channel) as denoiser:
        denoiser(latent, _timestep(1), conditioning)
        first = ledger.take()
        before = ledger.shapes.flops
        denoiser(latent, _timestep(0), conditioning)
        second = ledger.take()
        flops = ledger.shapes.flops - before
    return DryRun(
        opening=opening,
        steps=(first, second),
        client_flops=flops - sum(sum(r.cloud_flops) for r in second),
        traffic=channel.traffic,
    )


def _timestep(value: int) -> Tensor:
    # Real, not meta: a client may send its number.
    return torch.tensor(value)
