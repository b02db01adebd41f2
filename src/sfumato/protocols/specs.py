"""Every protocol's spec by name: the part of a protocol that both sides may know."""

from sfumato.protocols.base import Spec
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.prompt_set.spec import PromptSet
from sfumato.protocols.strip_split.spec import StripSplit

SPECS: dict[str, type[Spec]] = {spec.name: spec for spec in (Plain, LayerSplit, StripSplit, PromptSet, Homomorphic)}


def find_spec(name: str) -> type[Spec]:
    """Finds a protocol's spec.

    Raises:
        ValueError: unknown name; lists the known ones.
    """
    if name not in SPECS:
        raise ValueError(f"no protocol {name!r}: choose one of {', '.join(SPECS)}")
    return SPECS[name]
