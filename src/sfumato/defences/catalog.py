"""Every defence by name; a new one adds a line."""

from collections.abc import Sequence

from sfumato.defences.base import Defence
from sfumato.defences.drop_channels import DropChannels
from sfumato.defences.gaussian_noise import GaussianNoise
from sfumato.defences.quantise import Quantise
from sfumato.protocols.settings import parse_values

DEFENCES: dict[str, type[Defence]] = {kind.name: kind for kind in (GaussianNoise, Quantise, DropChannels)}


def defence_from(name: str, pairs: Sequence[str]) -> Defence:
    """Makes a defence from ``FIELD=VALUE`` pairs.

    Raises:
        ValueError: no such defence or setting, or a value that cannot be.
    """
    if name not in DEFENCES:
        raise ValueError(f"no defence {name!r}: choose one of {', '.join(DEFENCES)}")
    kind = DEFENCES[name]
    return kind(**parse_values(name, kind, pairs, {}))
