"""Every protocol's spec by name: the part of a protocol that both sides may know."""

from sfumato.protocols.base import Spec
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.prompt_set.spec import PromptSet
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.protocols.vault.spec import Vault

SPECS: dict[str, type[Spec]] = {spec.name: spec for spec in (Plain, LayerSplit, StripSplit, PromptSet, Homomorphic)}
"""That make pictures."""

SERVICES: dict[str, type[Spec]] = {Vault.name: Vault}
"""That clouds serve besides."""


def find_served(name: str) -> type[Spec]:
    """Finds the spec of whatever a cloud may serve.

    Raises:
        ValueError: unknown name; lists the known ones.
    """
    return SERVICES[name] if name in SERVICES else find_spec(name)


def find_spec(name: str) -> type[Spec]:
    """Finds the spec of a protocol that makes pictures.

    Raises:
        ValueError: unknown name; lists the known ones.
    """
    if name in SERVICES:
        raise ValueError(f"{name} makes no pictures: see 'sfumato {name} --help' for what it does with finished ones")
    if name not in SPECS:
        raise ValueError(f"no protocol {name!r}: choose one of {', '.join(SPECS)}")
    return SPECS[name]
