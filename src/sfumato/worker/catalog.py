"""From a spec to its worker half. Never loads client code."""

from torch import nn

from sfumato.protocols.base import Spec, WorkerHalf
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.layer_split.worker import LayerSplitWorker
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.plain.worker import PlainWorker
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.protocols.strip_split.worker import StripSplitWorker


def worker_half(spec: Spec, unet: nn.Module, cloud_index: int) -> WorkerHalf:
    """Makes the worker half that a spec asks for."""
    match spec:
        case Plain():
            return PlainWorker(spec, unet, cloud_index)
        case LayerSplit():
            return LayerSplitWorker(spec, unet, cloud_index)
        case StripSplit():
            return StripSplitWorker(spec, unet, cloud_index)
    raise AssertionError(f"{type(spec).__name__} has no worker half")
