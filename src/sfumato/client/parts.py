"""Which clouds of a run follow which protocol: one for all, or a second one that does the first one's denoising."""

from collections.abc import Sequence
from dataclasses import dataclass

from sfumato.protocols.base import Spec
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.settings import parse_spec
from sfumato.protocols.specs import SPECS, find_spec
from sfumato.transport.base import Channel
from sfumato.transport.part import PartChannel

DENOISING = "denoise."
"""Before the name of a setting: it is of the protocol that denoises."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A protocol, and the clouds of a run that follow it."""

    spec: Spec
    clouds: range
    """Their numbers, counted from 0; the spec counts them from 0 too."""

    def channel(self, whole: Channel) -> Channel:
        """A channel with these clouds, out of one with all."""
        return whole if whole.numbers == self.clouds else PartChannel(whole, self.clouds)


def parts_of(spec: Spec, denoise_with: Spec | None = None) -> tuple[Part, ...]:
    """Divides the clouds of a run.

    Args:
        spec: the protocol's; the first part follows it.
        denoise_with: of the protocol that the spec lets denoise; by default with its default settings.

    Raises:
        ValueError: the two do not fit together.
    """
    own, others = range(spec.num_own_clouds), range(spec.num_own_clouds, spec.num_clouds)
    first = Part(spec=spec, clouds=own)
    if not others:
        if denoise_with is not None:
            raise ValueError(
                f"{denoise_with.name} is to denoise and {spec.name} is not set to it: use homomorphic with "
                f"denoise_with={denoise_with.name}"
            )
        return (first,)
    assert isinstance(spec, Homomorphic)
    inner = denoise_with or find_spec(spec.denoise_with)(num_clouds=len(others))
    if inner.name != spec.denoise_with:
        raise ValueError(
            f"denoise_with={spec.denoise_with} is set, and settings of {inner.name} are given: name one of the two"
        )
    if inner.num_clouds != len(others):
        raise ValueError(
            f"of {spec.num_clouds} clouds the first holds the ciphertexts and {len(others)} denoise, and {inner.name} "
            f"is set to {inner.num_clouds}: make them agree"
        )
    return first, Part(spec=inner, clouds=others)


def parse_parts(name: str, pairs: Sequence[str], num_clouds: int | None = None) -> tuple[Part, ...]:
    """Divides the clouds of a run as ``FIELD=VALUE`` and ``denoise.FIELD=VALUE`` pairs say.

    Args:
        name: of the protocol.
        pairs: settings.
        num_clouds: of the run; by default what the settings say, or the protocols' defaults.

    Raises:
        ValueError: an unknown protocol, field or value, or numbers of clouds that disagree.
    """
    own = [pair for pair in pairs if not pair.startswith(DENOISING)]
    inner = [pair.removeprefix(DENOISING) for pair in pairs if pair.startswith(DENOISING)]
    given, given_inside = (dict(pair.partition("=")[::2] for pair in some) for some in (own, inner))
    kind = find_spec(name)
    denoising = SPECS.get(given.get("denoise_with", "")) if kind is Homomorphic else None
    if denoising is None:
        if inner:
            raise ValueError(
                f"{DENOISING}{inner[0]} is of a protocol that denoises, and none is named: add --protocol homomorphic "
                "--set denoise_with=strip-split (or layer-split)"
            )
        return parts_of(parse_spec(kind, own, num_clouds))
    if num_clouds is None and "num_clouds" not in given:
        num_clouds = 1 + parse_spec(denoising, inner).num_clouds
    spec = parse_spec(kind, own, num_clouds)
    others = None if "num_clouds" in given_inside else spec.num_clouds - spec.num_own_clouds
    return parts_of(spec, parse_spec(denoising, inner, others))
