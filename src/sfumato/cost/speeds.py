"""How long a step takes: exchanges on the client's link, and computing where its speed is given."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from heapq import heappop, heappush
from typing import Any

from sfumato.cost.dry_run import Event, Part, Round
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
    between: float | None = None
    """Exchanges between clouds; None where they do not meet."""
    overlapped: float
    """Of all these, what happens at the same time as something else."""

    @property
    def total(self) -> float:
        """From the step's start to its end."""
        computing = (self.client or 0.0) + (self.clouds or 0.0)
        return self.latency + self.up + self.down + computing + (self.between or 0.0) - self.overlapped


_ROUNDING = 1e-9


def step_seconds(step: Part, link: Link, speeds: Speeds) -> StepSeconds:
    """Models a step.

    Args:
        step: of a dry run.
        link: the client's.
        speeds: of client and clouds.
    """
    rounds = step.rounds
    one_by_one = StepSeconds(
        latency=len(rounds) * link.rtt_milliseconds / 1e3,
        up=link.up_seconds(sum(sum(r.sent_bytes) for r in rounds)),
        down=link.down_seconds(sum(sum(r.received_bytes) for r in rounds)),
        client=computing_seconds(step.client_flops, speeds.client_gflops),
        clouds=computing_seconds(busiest_cloud_flops(rounds), speeds.cloud_gflops),
        between=sum(between_seconds(r, link) for r in rounds) if any(r.between for r in rounds) else None,
        overlapped=0.0,
    )
    saved = one_by_one.total - _elapsed(step, link, speeds)
    return replace(one_by_one, overlapped=saved if saved > _ROUNDING * one_by_one.total else 0.0)


def mean_seconds(steps: Sequence[StepSeconds]) -> StepSeconds:
    """Of several steps; all of them know the same speeds."""

    def mean_of(name: str) -> Any:
        values = [getattr(step, name) for step in steps]
        return None if None in values else sum(values) / len(values)

    return StepSeconds(**{part.name: mean_of(part.name) for part in fields(StepSeconds)})


def _elapsed(step: Part, link: Link, speeds: Speeds) -> float:
    """Goes through a step's events, in the client's order or, where it takes any answer, in that of the answers."""
    world = _World(step, link, speeds)
    if any(event.is_any for event in step.events):
        return _as_answered(step, world) + world.seconds(step.client_flops_after)
    now = 0.0
    for event in step.events:
        now += world.seconds(event.client_flops)
        if event.is_wait:
            now = max(now, world.arrivals[event.round])
        else:
            world.post(event.round, now)
    return now + world.seconds(step.client_flops_after)


def _as_answered(step: Part, world: "_World") -> float:
    """A round is posted when the one whose answer it works on has come; the client works on one answer at a time."""
    follows: dict[int | None, list[Event]] = {}
    answered: int | None = None
    for event in step.events:
        follows.setdefault(answered, []).append(event)
        if event.is_wait:
            answered = event.round
    now, answered = 0.0, None
    under_way: list[tuple[float, int]] = []
    while True:
        for event in follows.get(answered, []):
            now += world.seconds(event.client_flops)
            if not event.is_wait:
                heappush(under_way, (world.post(event.round, now), event.round))
        if not under_way:
            return now
        arrival, answered = heappop(under_way)
        now = max(now, arrival)


class _World:
    """Uplink, clouds and downlink, each of which serves one round after the other."""

    def __init__(self, step: Part, link: Link, speeds: Speeds):
        self.arrivals: dict[int, float] = {}
        self._step, self._link, self._speeds = step, link, speeds
        self._uplink = self._clouds = self._downlink = 0.0

    def seconds(self, client_flops: int) -> float:
        """Of the client's computing."""
        return computing_seconds(client_flops, self._speeds.client_gflops) or 0.0

    def post(self, number: int, now: float) -> float:
        """Sends a round, and says when its answers are there."""
        posted, half_trip = self._step.rounds[number], self._link.rtt_milliseconds / 2e3
        self._uplink = max(now, self._uplink) + self._link.up_seconds(sum(posted.sent_bytes))
        work = computing_seconds(max(posted.cloud_flops), self._speeds.cloud_gflops) or 0.0
        work += between_seconds(posted, self._link)
        self._clouds = max(self._uplink + half_trip, self._clouds) + work
        received = self._link.down_seconds(sum(posted.received_bytes))
        self._downlink = max(self._clouds + half_trip, self._downlink) + received
        self.arrivals[number] = self._downlink
        return self._downlink


def busiest_cloud_flops(rounds: Sequence[Round]) -> int:
    """What the client waits for: in every round the busiest cloud's work."""
    return sum(max(r.cloud_flops) for r in rounds)


def between_seconds(posted: Round, link: Link) -> float:
    """Time of the exchanges between clouds in a round.

    Each cloud is taken to have a link of its own, as slow as the client's: the way to the others is half a round trip,
    as nobody asks before it sends, and the busiest cloud's bytes take their time on its uplink.
    """
    return sum(link.rtt_milliseconds / 2e3 + link.up_seconds(max(sent)) for sent in posted.between)


def computing_seconds(flops: int, gflops: float | None) -> float | None:
    """Seconds of some work, or None for an unknown speed."""
    return None if gflops is None else flops / (gflops * 1e9)


def stated_model(speeds: Speeds, *, meets: bool = False) -> str:
    """The model behind every modelled second, in a sentence; ``meets`` where clouds send to each other."""
    unknown = [party for party in ("client", "cloud") if getattr(speeds, f"{party}_gflops") is None]
    left_out = f"; computing time of {' and '.join(unknown)} is not modelled" if unknown else ""
    terms = ["rounds x RTT", "bytes up and bytes down at the link's rates"]
    terms += [] if speeds.client_gflops is None else ["the client's FLOPs at its speed"]
    terms += [] if speeds.cloud_gflops is None else ["the busiest cloud's FLOPs of every round at its speed"]
    if meets:
        terms.append(
            "for every exchange between clouds half the RTT and the busiest cloud's bytes at the uplink's rate"
        )
    return (
        f"seconds = {' + '.join(terms)}; within a round nothing overlaps, as a cloud answers what it has read whole, "
        "and rounds overlap only where the protocol has several under way; clouds share the client's "
        f"link{left_out}"
    )
