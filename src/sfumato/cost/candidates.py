"""What ``sfumato plan`` compares: the one place to add a setting to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from sfumato.protocols.base import Spec
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.settings import parse_spec
from sfumato.protocols.strip_split.spec import StripSplit

CLOUDS = (4, 8)
"""The protocol's default and more; with fewer, each cloud sees more of the picture."""

WIRES = ("fp16", "int8")

EXACT = {"wire": ("fp32", "fp16"), "attention_every": (1,), "differences": ("none",)}
"""Values with which the result is the unsplit model's up to rounding; with any other it is lossy."""

VARIANTS: tuple[tuple[str, ...], ...] = (
    ("attention=fused",),
    ("attention=fused", "overlap=halves"),
    ("attention=qkv",),
    ("attention=qkv", "overlap=halves"),
)
"""Who computes what. A setting that is named nowhere here stays at its default, and none here hides less than that."""

LOSSY = ("attention=fused", "overlap=halves", "attention_every=2")
"""Counted with lossy wires and the first number of clouds only, to show what it is worth. It saves bytes and the
client's work for rounds, as overlapping does."""

STRIPS = ("attention=fused", "num_columns=1")
"""Counted with the first wire only, to show what the cut is worth."""


@dataclass(frozen=True)
class Candidate:
    """A setting to count, before it is known to fit."""

    kind: type[Spec]
    num_clouds: int
    pairs: tuple[str, ...]
    """``FIELD=VALUE``."""
    is_reference: bool = False
    """For comparison only."""

    def spec(self) -> Spec:
        """The spec.

        Raises:
            ValueError: there is no such setting.
        """
        return parse_spec(self.kind, self.pairs, self.num_clouds)

    def __str__(self) -> str:
        return " ".join((self.kind.name, f"num_clouds={self.num_clouds}", *self.pairs))


def candidates(clouds: Sequence[int], wires: Sequence[str], fixed: Sequence[str]) -> list[Candidate]:
    """Everything to count: strip-split in all these ways, and what was published as a reference.

    Args:
        clouds: numbers of clouds.
        wires: number formats of strip-split.
        fixed: ``FIELD=VALUE`` pairs that hold for all of strip-split; what contradicts them is not counted.
    """
    named = {pair.partition("=")[0] for pair in fixed}

    def agreeing(ways: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        return [way for way in ways if all(p in fixed or p.partition("=")[0] not in named for p in way)]

    formats = agreeing((f"wire={wire}",) for wire in wires) or [()]
    ways = [(*variant, *wire) for variant, wire in product(agreeing(VARIANTS) or [()], formats)]
    lossy = [wire for wire in formats if not {*wire} <= {f"wire={name}" for name in EXACT["wire"]}]
    ways += [(*strips, *formats[0]) for strips in agreeing([STRIPS])]
    numbered = [(n, way) for n in clouds for way in ways]
    numbered += [(clouds[0], (*way, *wire)) for way, wire in product(agreeing([LOSSY]), lossy)]
    found = [Candidate(StripSplit, n, (*fixed, *(pair for pair in way if pair not in fixed))) for n, way in numbered]
    return [*dict.fromkeys(found), Candidate(LayerSplit, clouds[0], (), is_reference=True)]


def losses(spec: Spec) -> list[str]:
    """The settings that make the result differ from the unsplit model's by more than rounding."""
    return [name for name, exact in EXACT.items() if getattr(spec, name, exact[0]) not in exact]
