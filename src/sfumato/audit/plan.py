"""What an audit tries: settings of protocols, views of their clouds, and attacks."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

from sfumato.attacks.base import Attack
from sfumato.attacks.catalog import ATTACKS
from sfumato.protocols.base import Spec
from sfumato.protocols.plain.spec import Plain


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One attack by one coalition on runs of one setting."""

    attack: Attack
    clouds: tuple[int, ...]
    """Of the coalition, counted from 0."""

    @property
    def who(self) -> str:
        """The coalition's clouds, counted from 1, with commas."""
        return ",".join(str(cloud + 1) for cloud in self.clouds)

    @property
    def attack_settings(self) -> str:
        """Canonical JSON."""
        return json.dumps(asdict(self.attack), sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Audited:
    """One setting of one protocol, and what is tried on it."""

    spec: Spec
    trials: tuple[Trial, ...]
    is_control: bool = False

    @property
    def name(self) -> str:
        """The protocol and the fields that differ from its defaults."""
        return setting_name(self.spec)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole audit: the settings in question, and the controls that their attacks need."""

    audited: tuple[Audited, ...]
    num_secrets: int = 50
    """Of each setting; attacks that optimise for each picture get `num_slow_secrets`."""
    num_slow_secrets: int = 20

    def secrets_of(self, trial: Trial) -> int:
        """How many secrets an attack is tried on."""
        return min(self.num_secrets, self.num_slow_secrets) if trial.attack.is_slow else self.num_secrets


def setting_name(spec: Spec) -> str:
    """A protocol and the fields that differ from its defaults, as the command line takes them.

    Example:
        >>> setting_name(LayerSplit(num_clouds=2))
        'layer-split num_clouds=2'
    """
    default = json.loads(type(spec)().to_json()) if _has_defaults(type(spec)) else {}
    told = json.loads(spec.to_json())
    words = [f"{name}={_word(value)}" for name, value in told.items() if default.get(name) != value]
    return " ".join([spec.name, *words])


def _has_defaults(kind: type[Spec]) -> bool:
    try:
        kind()
    except (TypeError, ValueError):
        return False
    return True


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value).lower()


def coalitions(num_clouds: int, size: int, limit: int | None = None) -> list[tuple[int, ...]]:
    """Every set of so many clouds, in order.

    Args:
        num_clouds: of the run.
        size: of each coalition.
        limit: take only so many, spread evenly.
    """
    found = list(combinations(range(num_clouds), min(size, num_clouds)))
    if limit is None or len(found) <= limit:
        return found
    return [found[round(i * (len(found) - 1) / max(1, limit - 1))] for i in range(limit)]


def trials(spec: Spec, attacks: Sequence[Attack], sizes: Sequence[int], most_coalitions: int) -> list[Trial]:
    """Every attack by some coalitions of each size.

    Args:
        spec: of the runs.
        attacks: with their settings.
        sizes: of coalitions; those beyond the spec's clouds are left out.
        most_coalitions: of each size, evenly spread.
    """
    return [
        Trial(attack=attack, clouds=clouds)
        for size in sizes
        if size <= spec.num_clouds
        for clouds in coalitions(spec.num_clouds, size, most_coalitions)
        for attack in attacks
    ]


def plan_of(
    specs: Sequence[Spec],
    attacks: Sequence[Attack],
    *,
    coalition_sizes: Sequence[int] = (1,),
    most_coalitions: int = 2,
    num_secrets: int = 50,
    num_slow_secrets: int = 20,
) -> Plan:
    """Tries every attack on every setting by some coalitions of each size, and adds the positive controls.

    Args:
        specs: settings in question.
        attacks: with their settings; see :func:`default_attacks`.
        coalition_sizes: of clouds that pool what they saw; sizes beyond a protocol's clouds are left out.
        most_coalitions: of each size, evenly spread.
        num_secrets: of each setting.
        num_slow_secrets: for attacks that optimise for each.
    """
    audited = [
        Audited(spec=spec, trials=tuple(trials(spec, attacks, coalition_sizes, most_coalitions))) for spec in specs
    ]
    controls: dict[str, Audited] = {}
    for attack in attacks:
        spec = attack.control()
        name = setting_name(spec)
        trial = Trial(attack=attack, clouds=tuple(range(spec.num_clouds)))
        before = controls[name].trials if name in controls else ()
        controls[name] = Audited(spec=spec, trials=(*before, trial), is_control=True)
    return Plan(audited=(*controls.values(), *audited), num_secrets=num_secrets, num_slow_secrets=num_slow_secrets)


def default_attacks() -> list[Attack]:
    """Every attack with its default settings."""
    return [kind() for kind in ATTACKS.values()]


def common_settings() -> list[Spec]:
    """A setting of each protocol that runs with nothing but the bundled model."""
    from sfumato.protocols.homomorphic.spec import Homomorphic
    from sfumato.protocols.layer_split.spec import LayerSplit
    from sfumato.protocols.prompt_set.spec import PromptSet
    from sfumato.protocols.strip_split.spec import StripSplit

    return [
        Plain(),
        LayerSplit(num_clouds=4),
        LayerSplit(num_clouds=4, cross_attention="client"),
        StripSplit(num_clouds=4),
        PromptSet(server_steps="5-3-3"),
        Homomorphic(mode="paper"),
        Homomorphic(),
    ]


def published_settings() -> list[Spec]:
    """The settings of the committed report."""
    from sfumato.protocols.homomorphic.spec import Homomorphic
    from sfumato.protocols.layer_split.spec import LayerSplit
    from sfumato.protocols.prompt_set.spec import PromptSet
    from sfumato.protocols.strip_split.spec import StripSplit

    return [
        *(LayerSplit(num_clouds=n) for n in (2, 4, 8)),
        LayerSplit(num_clouds=4, merge="paper"),
        *(LayerSplit(num_clouds=n, cross_attention="client") for n in (2, 4, 8)),
        *(StripSplit(num_clouds=n) for n in (2, 4, 8)),
        StripSplit(num_clouds=4, cross_attention="cloud"),
        *(PromptSet(server_steps=steps) for steps in ("5-3-3", "10-4-6")),
        Homomorphic(mode="paper"),
        Homomorphic(),
    ]
