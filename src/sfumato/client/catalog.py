"""From a spec to its client half. Only the client loads this."""

from sfumato.protocols.base import Spec
from sfumato.protocols.client_half import ClientHalf
from sfumato.protocols.layer_split.client import LayerSplitClient
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.client import PlainClient
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.strip_split.client import StripSplitClient
from sfumato.protocols.strip_split.spec import StripSplit


def client_half(spec: Spec) -> ClientHalf:
    """Makes the client half that a spec asks for."""
    match spec:
        case Plain():
            return PlainClient(spec)
        case LayerSplit():
            return LayerSplitClient(spec)
        case StripSplit():
            return StripSplitClient(spec)
    raise AssertionError(f"{type(spec).__name__} has no client half")
