"""Which setting to take for a model, a link and a client: every candidate counted, and the fastest exact one."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sfumato.cost.candidates import Candidate, losses
from sfumato.cost.counting import count_cost
from sfumato.cost.link import Link
from sfumato.cost.result import Cost
from sfumato.cost.speeds import Speeds
from sfumato.models.folder import ModelFolder
from sfumato.protocols.base import Spec


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a plan is for.

    Args:
        model: its configurations are enough.
        link: the client's.
        speeds: of client and clouds.
        client_memory_bytes: what the client's weights must fit into, or None.
        height, width: of the picture in pixels; None for the model's own size.
        guided: whether prompt and negative prompt go through the U-Net together.
    """

    model: ModelFolder
    link: Link
    speeds: Speeds
    client_memory_bytes: int | None = None
    height: int | None = None
    width: int | None = None
    guided: bool = True


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One setting that fits, counted."""

    spec: Spec
    cost: Cost
    is_reference: bool

    @property
    def losses(self) -> list[str]:
        """The lossy ones of its settings; without any the result is the unsplit model's up to rounding."""
        return losses(self.spec)

    @property
    def settings(self) -> list[str]:
        """The ``FIELD=VALUE`` pairs that differ from the protocol's defaults, the number of clouds left out."""
        given = {f.name: (getattr(self.spec, f.name), f.default) for f in fields(self.spec) if f.name != "num_clouds"}
        return [f"{name}={_text(value)}" for name, (value, default) in given.items() if value != default]

    @property
    def options(self) -> list[str]:
        """What to give to ``sfumato generate``, the clouds left out."""
        return ["--protocol", self.spec.name, *(word for pair in self.settings for word in ("--set", pair))]

    def picture_seconds(self, num_steps: int) -> float:
        """Modelled seconds of a whole picture: its steps, and what a run spends once."""
        once = self.cost.once
        extra = 0.0 if once is None else once.seconds + (once.client_seconds or 0.0)
        return num_steps * self.cost.seconds_per_step + extra


@dataclass(frozen=True)
class LeftOut:
    """A setting that does not fit, and why."""

    setting: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The table, fastest first, and what follows from it."""

    choices: tuple[Choice, ...]
    left_out: tuple[LeftOut, ...]
    recommended: Choice
    """The fastest exact setting, or where no exact one was asked for the fastest of those that are lossy in the fewest
    ways; of about equals the plainest."""
    faster_lossy: Choice | None
    """The same of those that are faster, and lossy in more ways."""


def make_plan(
    conditions: Conditions, compared: Sequence[Candidate], on_count: Callable[[Candidate], None] = lambda _: None
) -> Plan:
    """Counts every candidate by a dry run and compares.

    Args:
        conditions: what the plan is for.
        compared: at least one that is more than a reference.
        on_count: called before each.

    Raises:
        ValueError: none fits; says why.
        Unsupported: the model cannot be split this way.
    """
    choices: list[Choice] = []
    left_out = []
    for candidate in compared:
        on_count(candidate)
        match _counted(candidate, conditions, [choice.spec for choice in choices]):
            case Choice() as choice:
                choices.append(choice)
            case str() as reason:
                left_out.append(LeftOut(str(candidate), reason))
    choices.sort(key=lambda c: (c.cost.seconds_per_step, c.cost.sent_bytes + c.cost.received_bytes))
    possible = [c for c in choices if not c.is_reference]
    if not possible:
        references = {str(c) for c in compared if c.is_reference}
        raise ValueError("; ".join(dict.fromkeys(x.reason for x in left_out if x.setting not in references)))
    recommended = _plainest(_least_lossy(possible))
    assert recommended is not None
    lossier = [c for c in possible if len(c.losses) > len(recommended.losses)]
    faster = [c for c in lossier if c.cost.seconds_per_step < recommended.cost.seconds_per_step]
    return Plan(
        choices=tuple(choices),
        left_out=tuple(left_out),
        recommended=recommended,
        faster_lossy=_plainest(_least_lossy(faster)),
    )


def _least_lossy(choices: Sequence[Choice]) -> list[Choice]:
    """Those that are lossy in the fewest ways: the exact ones, if there are any."""
    fewest = min((len(c.losses) for c in choices), default=0)
    return [c for c in choices if len(c.losses) == fewest]


ABOUT_AS_FAST = 0.02
"""The model is not finer than that: of settings so close to the fastest, the one nearest the defaults is taken."""


def _plainest(choices: Sequence[Choice]) -> Choice | None:
    """Of those about as fast as the first, the one with the fewest settings; choices are sorted."""
    limit = choices[0].cost.seconds_per_step * (1 + ABOUT_AS_FAST) if choices else 0.0
    return min((c for c in choices if c.cost.seconds_per_step <= limit), key=lambda c: len(c.settings), default=None)


def _counted(candidate: Candidate, conditions: Conditions, known: Sequence[Spec]) -> Choice | str | None:
    """The counted candidate, why it does not fit, or None for one that is known by other words."""
    try:
        spec = candidate.spec()
        if spec in known:
            return None
        cost = count_cost(
            conditions.model,
            spec,
            conditions.link,
            height=conditions.height,
            width=conditions.width,
            guided=conditions.guided,
            speeds=conditions.speeds,
        )
    except ValueError as error:
        return str(error)
    held, limit = cost.compute.client_weight_bytes, conditions.client_memory_bytes
    if limit is not None and held > limit:
        return f"the client would hold {held / 1e6:,.1f} MB of weights, and --client-memory is {limit / 1e6:,.1f} MB"
    return Choice(spec=spec, cost=cost, is_reference=candidate.is_reference)


BOUNDS = {
    "latency": "round trips",
    "up": "the uplink",
    "down": "the downlink",
    "client": "the client's computing",
    "clouds": "the busiest cloud's computing",
    "between": "exchanges between clouds",
}
_ALSO = 2 / 3
"""A second bound is named from this share of the first on."""


def reason(choice: Choice) -> str:
    """Says what bounds a setting."""
    assert choice.cost.step_seconds is not None
    spent = {part: seconds or 0.0 for part, seconds in asdict(choice.cost.step_seconds).items() if part in BOUNDS}
    first, second, *_ = sorted(spent, key=lambda part: -spent[part])
    bound = f"{BOUNDS[first]}, {spent[first]:.3g} of {choice.cost.seconds_per_step:.3g} s a step"
    if spent[second] >= _ALSO * spent[first]:
        bound += f", and by {BOUNDS[second]}, {spent[second]:.3g} s"
    return f"Bound by {bound}."


def hides_less(spec: Spec) -> list[str]:
    """What a cloud learns with these settings that it does not learn with the protocol's defaults, a sentence each."""
    default = type(spec)()
    found = [sentence for sentence in spec.not_hidden if sentence not in default.not_hidden]
    if num_tiles(spec) < num_tiles(default):
        found.insert(
            0, f"Each cloud sees 1/{num_tiles(spec)} of the picture, where the default is 1/{num_tiles(default)}."
        )
    return found


def num_tiles(spec: Spec) -> int:
    """Pieces that the picture is cut into, one of which a cloud sees."""
    return getattr(spec, "num_tiles", spec.num_clouds)


def _text(value: Any) -> str:
    return ",".join(sorted(value)) if isinstance(value, frozenset) else str(value)
