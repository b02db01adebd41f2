"""From a spec to its client half. Only the client loads this."""

from sfumato.client.composed import ComposedClient
from sfumato.client.parts import parts_of
from sfumato.errors import Unsupported
from sfumato.protocols.base import Spec
from sfumato.protocols.client_half import ClientHalf, Private, StepwiseClient
from sfumato.protocols.homomorphic.paper_client import PaperClient
from sfumato.protocols.homomorphic.sealed_client import SealedClient
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.layer_split.client import LayerSplitClient
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.client import PlainClient
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.prompt_set.client import PromptSetClient
from sfumato.protocols.prompt_set.spec import PromptSet
from sfumato.protocols.strip_split.client import StripSplitClient
from sfumato.protocols.strip_split.spec import StripSplit


def client_half(spec: Spec, private: Private | None = None, denoise_with: Spec | None = None) -> ClientHalf:
    """Makes the client half that a spec asks for.

    Args:
        spec: the protocol's.
        private: what the user gave besides; step-wise protocols do without.
        denoise_with: of the protocol that the spec lets denoise; by default with its default settings.

    Raises:
        Unsupported: the protocol needs it.
    """
    match spec:
        case Plain():
            return PlainClient(spec)
        case LayerSplit():
            return LayerSplitClient(spec)
        case StripSplit():
            return StripSplitClient(spec)
        case PromptSet():
            if private is None:
                raise Unsupported(f"{spec.name} has no denoising step that repeats")
            return PromptSetClient(spec, private)
        case Homomorphic(mode="paper"):
            return PaperClient(spec)
        case Homomorphic(denoise_with="nothing"):
            return SealedClient(spec)
        case Homomorphic():
            custody, denoising = parts_of(spec, denoise_with)
            half = client_half(denoising.spec)
            assert isinstance(half, StepwiseClient)
            return ComposedClient(SealedClient(spec), half, (custody, denoising))
    raise AssertionError(f"{type(spec).__name__} has no client half")
