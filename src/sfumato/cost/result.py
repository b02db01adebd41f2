"""What a protocol costs, as a value: the result of every way of counting."""

from dataclasses import asdict, dataclass
from typing import Any

from sfumato.cost.means import Mean, as_json
from sfumato.cost.speeds import UNKNOWN, Speeds, StepSeconds
from sfumato.models.skeleton import Parameters

FLOAT_BYTES = 4
"""Weights are held as fp32, as the pipeline loads them."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes one way on one topic, within one step; totals are means where steps differ."""

    min: int
    """The smallest message at any cloud."""
    max: int
    """The largest message at any cloud."""
    total: Mean
    """All messages of the busiest cloud."""
    all_clouds: Mean
    """All messages of all clouds."""


@dataclass(frozen=True, kw_only=True)
class TopicCost:
    """What one step spends on one topic: a layer kind, or what else a protocol sends."""

    rounds: Mean
    up: Sizes
    down: Sizes
    cloud_flops: Mean


@dataclass(frozen=True, kw_only=True)
class Between:
    """What clouds send each other in one step, where they meet without the client."""

    exchanges: Mean
    """In each, every cloud sends to those that need something of it, and waits for theirs."""
    sent_bytes: Mean
    """All clouds together."""
    busiest_cloud_bytes: Mean
    """That one cloud sends, the one that sends most."""


@dataclass(frozen=True, kw_only=True)
class Once:
    """What a run spends once and no step spends again: the handshake, and what a session is told at its start.

    Where steps differ, also what those before the first cycle spend above the mean; below zero where it is less.
    """

    rounds: Mean
    sent_bytes: Mean
    received_bytes: Mean
    between_bytes: Mean = 0
    """Between clouds, of steps before the first cycle above the mean."""
    seconds: float
    """On the link; of steps before the first cycle all their time above the mean."""
    client_seconds: float | None
    """To encode the text and decode the picture; None where the client's computing is not modelled."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """FLOPs of one step, and weights held. Multiply-adds count twice; normalisation and activations do not count."""

    client_flops: Mean
    cloud_flops: Mean
    """All clouds together, with the work they do twice at the borders of strips."""
    busiest_cloud_flops: Mean
    """What the client waits for: the work of every round's busiest cloud."""
    client_weight_bytes: int
    """Text encoders, decoder, and the part of the U-Net that the client keeps."""
    text_encoder_flops: int
    """Once a run, on the client."""
    vae_decoder_flops: int
    """Once a run, on the client."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What some steps spend together, in whole numbers; bytes and FLOPs of all clouds."""

    steps: int
    rounds: int
    sent_bytes: int
    received_bytes: int
    between_bytes: int
    client_flops: int
    cloud_flops: int


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """The whole numbers behind the means, where steps differ and repeat in a cycle."""

    before: Spent
    """The handshake, and the steps before the first cycle."""
    each: Spent
    """One cycle."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of one denoising step of one model under one protocol: the mean of a cycle where steps differ."""

    model: str
    protocol: str
    spec: dict[str, Any]
    clouds: int
    height: int
    width: int
    rounds: Mean
    cycle: Cycle | None = None
    """None where all steps but the first are alike."""
    seconds_per_step: float
    step_seconds: StepSeconds | None = None
    """The modelled seconds by what they are spent on; None where it was counted as published."""
    link: str
    speeds: Speeds = UNKNOWN
    parameters: Parameters
    per_cloud: dict[str, TopicCost]
    between: Between | None = None
    """None where clouds do not meet."""
    once: Once | None
    compute: Compute
    notes: tuple[str, ...]
    published: dict[str, Any] | None = None
    """The paper's own cells, only where it was counted as published."""

    @property
    def sent_bytes(self) -> Mean:
        """Client to clouds in one step, all clouds together."""
        return sum(t.up.all_clouds for t in self.per_cloud.values())

    @property
    def received_bytes(self) -> Mean:
        """Clouds to client in one step, all clouds together."""
        return sum(t.down.all_clouds for t in self.per_cloud.values())

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON object; all sizes in bytes, all figures for one step unless named otherwise."""
        out = as_json(asdict(self))
        out["totals"] = as_json({"sent_bytes": self.sent_bytes, "received_bytes": self.received_bytes})
        return {key: value for key, value in out.items() if value is not None}
