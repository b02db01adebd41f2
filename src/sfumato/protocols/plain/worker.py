"""The worker half of ``plain``: run the U-Net."""

from typing import ClassVar

from torch import nn

from sfumato.errors import WireError
from sfumato.protocols.base import WorkerHalf
from sfumato.protocols.plain.spec import Noisy, Plain, Prediction
from sfumato.protocols.readable import Condition
from sfumato.protocols.whole_unet import WholeUnet
from sfumato.wire.messages import Message


class PlainWorker(WorkerHalf):
    """Holds one session's conditioning and predicts for one latent after another.

    Run by: worker.
    Reveals: to the client, the predictions it asked for.
    """

    kinds: ClassVar[tuple[type[Message], ...]] = (Condition, Noisy)

    def __init__(self, spec: Plain, unet: nn.Module, cloud_index: int):  # noqa: ARG002
        self._unet = WholeUnet(unet)

    def handle(self, request: Message) -> Message:
        """Stores conditioning, or predicts."""
        match request:
            case Condition():
                return self._unet.tell(request)
            case Noisy():
                return Prediction(prediction=self._unet.predict(request.latent, request.timestep))
        raise WireError(f"plain does not answer {type(request).__name__}")
