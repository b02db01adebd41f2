"""How long a step takes: exchanges on the client's link, and computing where its speed is given."""

from collections.abc import Sequence
from dataclasses import dataclass

from sfumato.cost.dry_run import Round
from sfumato.cost.link import Link


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """What the parties compute in a second, in 10**9 FLOP; None where computing is not modelled.

    Args:
        client_gflops: the client's.
        cloud_gflops: of each cloud.

    Raises:
        ValueError: a speed is not positive.
    """

    client_gflops: float | None = None
    cloud_gflops: float | None = None

    def __post_init__(self) -> None:
        for party in ("client", "cloud"):
            given = getattr(self, f"{party}_gflops")
            if given is not None and not 0 < given < float("inf"):
                raise ValueError(f"--{party}-gflops must be a positive number of GFLOP a second, got {given:g}")


UNKNOWN = Speeds()


@dataclass(frozen=True, kw_only=True)
class StepSeconds:
    """The modelled seconds of one step by what they are spent on; None where that is not modelled."""

    latency: float
    up: float
    down: float
    client: float | None
    clouds: float | None

    @property
    def total(self) -> float:
        """All of them; nothing overlaps."""
        return self.latency + self.up + self.down + (self.client or 0.0) + (self.clouds or 0.0)


def step_seconds(rounds: Sequence[Round], client_flops: int, link: Link, speeds: Speeds) -> StepSeconds:
    """Models a step.

    Args:
        rounds: of the step.
        client_flops: in the step, between the rounds.
        link: the client's.
        speeds: of client and clouds.
    """
    return StepSeconds(
        latency=len(rounds) * link.rtt_milliseconds / 1e3,
        up=link.up_seconds(sum(sum(r.sent_bytes) for r in rounds)),
        down=link.down_seconds(sum(sum(r.received_bytes) for r in rounds)),
        client=computing_seconds(client_flops, speeds.client_gflops),
        clouds=computing_seconds(busiest_cloud_flops(rounds), speeds.cloud_gflops),
    )


def busiest_cloud_flops(rounds: Sequence[Round]) -> int:
    """What the client waits for: in every round the busiest cloud's work."""
    return sum(max(r.cloud_flops) for r in rounds)


def computing_seconds(flops: int, gflops: float | None) -> float | None:
    """Seconds of some work, or None for an unknown speed."""
    return None if gflops is None else flops / (gflops * 1e9)


def stated_model(speeds: Speeds) -> str:
    """The model behind every modelled second, in a sentence."""
    unknown = [party for party in ("client", "cloud") if getattr(speeds, f"{party}_gflops") is None]
    left_out = f"; computing time of {' and '.join(unknown)} is not modelled" if unknown else ""
    terms = ["rounds x RTT", "bytes up and bytes down at the link's rates"]
    terms += [] if speeds.client_gflops is None else ["the client's FLOPs at its speed"]
    terms += [] if speeds.cloud_gflops is None else ["the busiest cloud's FLOPs of every round at its speed"]
    return (
        f"seconds = {' + '.join(terms)}; nothing overlaps, as a cloud answers what it has read whole and the client "
        f"asks again when all have answered; clouds share the client's link{left_out}"
    )
