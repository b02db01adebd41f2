"""Words and numbers of a report: one unit a metric, one word a verdict."""

import json
from dataclasses import MISSING, dataclass, fields

from sfumato.attacks.catalog import ATTACKS
from sfumato.audit.leakage import Verdict
from sfumato.audit.tables import Line
from sfumato.metrics.intervals import Interval
from sfumato.portraits.attributes import VALUES


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How a metric is told."""

    label: str
    meaning: str
    unit: str
    scale: float
    """Of the stored number, to that unit."""
    digits: int


def _share(label: str, meaning: str) -> Measure:
    return Measure(label=label, meaning=meaning, unit="%", scale=100.0, digits=1)


def _decibel(label: str, meaning: str) -> Measure:
    return Measure(label=label, meaning=meaning, unit="dB", scale=1.0, digits=2)


_MEASURES = {
    "psnr": _decibel("PSNR", "of the guessed picture, against the one that the client got; at most 60 dB"),
    "psnr outside": _decibel("PSNR outside", "the same of the pixels whose latent cells these clouds were never sent"),
    "attributes": _share(
        "attributes alike", "share of attributes that an encoder reads alike in the guessed picture and in the true one"
    ),
    "exact": _share("exact", "share of secrets that were found without a fault"),
    "tokens": _share("tokens", "share of the prompt's tokens that are right in their place"),
    "all attributes": _share("all attributes", "share of the attributes in the prompt that were read rightly"),
    "right": _share("right choice", "share of texts chosen rightly; ties are shared out"),
    **{
        name: _share(name.replace("_", " "), f"share of people whose {name.replace('_', ' ')} was read rightly")
        for name in VALUES
    },
}
_VERDICTS = {
    Verdict.LEAKS: "the whole interval lies above 0, and both controls hold",
    Verdict.NOTHING_FOUND: "by this attack, whose controls hold; another attack may find more",
    Verdict.INCONCLUSIVE: "a control failed or is missing, so the row says nothing of the protocol, either way",
}


def measure(metric: str) -> Measure:
    """How a metric is told; those that are not known are told as they are."""
    return _MEASURES.get(metric) or Measure(label=metric, meaning=metric, unit="", scale=1.0, digits=3)


def number(value: float, metric: str) -> str:
    """A score, without its unit."""
    told = measure(metric)
    return f"{value * told.scale:.{told.digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float, metric: str) -> str:
    """A difference, without its unit."""
    told = measure(metric)
    return f"{value * told.scale:+.{told.digits}f}".replace("-", "\N{MINUS SIGN}")


def bits(value: float) -> str:
    """Bits of information."""
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def metric_order(metric: str) -> int:
    """Where a metric stands among those of its secret."""
    known = list(_MEASURES)
    return known.index(metric) if metric in known else len(known)


def interval(ends: Interval, metric: str) -> str:
    """Both ends of a difference."""
    return f"{signed(ends.low, metric)} to {signed(ends.high, metric)}"


def clouds(told: str) -> str:
    """A coalition, as rows name it."""
    numbers = told.split(",")
    return f"cloud {told}" if len(numbers) == 1 else f"clouds {', '.join(numbers)}"


def together(size: int) -> str:
    """A coalition's size."""
    return "one cloud" if size == 1 else f"{size} clouds that pool"


def size_of(told: str) -> int:
    """How many clouds a coalition has."""
    return len(told.split(","))


def attack_words(name: str, settings: str) -> str:
    """An attack and those of its settings that are not its defaults.

    Args:
        name: of the attack.
        settings: canonical JSON.
    """
    given, kind = json.loads(settings), ATTACKS.get(name)
    default = {} if kind is None else {f.name: f.default for f in fields(kind) if f.default is not MISSING}
    told = [f"{key}={value}" for key, value in given.items() if key not in default or default[key] != value]
    return " ".join([name, *told])


def verdict_meaning(verdict: Verdict) -> str:
    """What the word says, and what it does not."""
    return _VERDICTS[verdict]


def why_inconclusive(line: Line) -> str:
    """Which control failed; empty where both hold."""
    found = []
    if line.in_the_clear is None:
        found.append("it was not tried where nothing is hidden")
    elif not line.in_the_clear.is_found:
        found.append("it found nothing where nothing is hidden")
    if line.on_noise is None:
        found.append("it was not tried on noise")
    elif line.on_noise.is_found:
        found.append("it found something in noise")
    return "; ".join(found)
