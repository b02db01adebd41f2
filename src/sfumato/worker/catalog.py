"""From a spec to its worker half. Never loads client code."""

from torch import nn

from sfumato.errors import Unsupported
from sfumato.models.folder import ModelFolder
from sfumato.protocols.base import Spec, WorkerHalf
from sfumato.protocols.homomorphic.paper_worker import PaperWorker
from sfumato.protocols.homomorphic.sealed_worker import SealedWorker
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.layer_split.worker import LayerSplitWorker
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.plain.worker import PlainWorker
from sfumato.protocols.prompt_set.spec import PromptSet
from sfumato.protocols.prompt_set.worker import PromptSetWorker
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.protocols.strip_split.worker import StripSplitWorker
from sfumato.protocols.vault.spec import Vault
from sfumato.protocols.vault.store import VaultStore
from sfumato.protocols.vault.worker import VaultWorker
from sfumato.transport.peers import Peers


def worker_half(
    spec: Spec, unet: nn.Module, cloud_index: int, model: ModelFolder | None = None, peers: Peers | None = None
) -> WorkerHalf:
    """Makes the worker half that a spec asks for.

    Args:
        spec: the session's.
        unet: that the cloud serves.
        cloud_index: which cloud this is.
        model: the folder that the U-Net is of, for protocols that need more of it.
        peers: what to meet other clouds by, where the spec lets clouds meet.

    Raises:
        ModelError: the protocol needs the folder.
    """
    match spec:
        case Plain():
            return PlainWorker(spec, unet, cloud_index)
        case LayerSplit():
            return LayerSplitWorker(spec, unet, cloud_index)
        case StripSplit():
            return StripSplitWorker(spec, unet, cloud_index, peers)
        case PromptSet():
            return PromptSetWorker(spec, unet, model)
        case Homomorphic(mode="paper"):
            return PaperWorker(spec, unet)
        case Homomorphic():
            return SealedWorker(spec)
    raise AssertionError(f"{type(spec).__name__} has no worker half")


def service_half(spec: Spec, store: VaultStore | None) -> WorkerHalf:
    """Makes the worker half of what a cloud serves without a model.

    Args:
        spec: the session's.
        store: where the cloud keeps vaults; None where it keeps none.

    Raises:
        Unsupported: it keeps none.
    """
    match spec:
        case Vault():
            if store is None:
                raise Unsupported("it keeps no vault: its operator starts it with 'sfumato serve --vault DIR'")
            return VaultWorker(spec, store)
    raise AssertionError(f"{type(spec).__name__} is served with a model")
