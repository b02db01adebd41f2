"""sfumato: diffusion models on clouds that nobody has to trust, and attacks that measure what those clouds learn."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfumato.client.pipeline import PrivatePipeline as PrivatePipeline
    from sfumato.protocols.homomorphic.spec import Homomorphic as Homomorphic
    from sfumato.protocols.layer_split.spec import LayerSplit as LayerSplit
    from sfumato.protocols.plain.spec import Plain as Plain
    from sfumato.protocols.prompt_set.spec import PromptSet as PromptSet
    from sfumato.protocols.strip_split.spec import StripSplit as StripSplit
    from sfumato.simulation import simulate as simulate
    from sfumato.version import VERSION as __version__

_HOMES = {
    "Homomorphic": ("sfumato.protocols.homomorphic.spec", "Homomorphic"),
    "LayerSplit": ("sfumato.protocols.layer_split.spec", "LayerSplit"),
    "Plain": ("sfumato.protocols.plain.spec", "Plain"),
    "PrivatePipeline": ("sfumato.client.pipeline", "PrivatePipeline"),
    "PromptSet": ("sfumato.protocols.prompt_set.spec", "PromptSet"),
    "StripSplit": ("sfumato.protocols.strip_split.spec", "StripSplit"),
    "__version__": ("sfumato.version", "VERSION"),
    "simulate": ("sfumato.simulation", "simulate"),
}
__all__ = [
    "Homomorphic",
    "LayerSplit",
    "Plain",
    "PrivatePipeline",
    "PromptSet",
    "StripSplit",
    "__version__",
    "simulate",
]


def __getattr__(name: str) -> Any:
    # Lazy, so that a worker process or `sfumato --help` does not load the client.
    if name not in _HOMES:
        raise AttributeError(f"module 'sfumato' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
