"""The worker half of ``plain``: run the U-Net."""

from typing import Any, ClassVar

import torch
from torch import nn

from sfumato.errors import WireError
from sfumato.models.denoiser import Conditioning, predict
from sfumato.protocols.base import WorkerHalf
from sfumato.protocols.plain.spec import Condition, Conditioned, Noisy, Plain, Prediction
from sfumato.wire.messages import Message


class PlainWorker(WorkerHalf):
    """Holds one session's conditioning and predicts for one latent after another.

    Run by: worker.
    Reveals: to the client, the predictions it asked for.
    """

    kinds: ClassVar[tuple[type[Message], ...]] = (Condition, Noisy)

    def __init__(self, spec: Plain, unet: nn.Module, cloud_index: int):  # noqa: ARG002
        self._unet = unet
        self._config: Any = unet.config
        self._conditioning: Conditioning | None = None

    @torch.no_grad()
    def handle(self, request: Message) -> Message:
        """Stores conditioning, or predicts."""
        match request:
            case Condition():
                return self._store(request)
            case Noisy():
                return self._predict(request)
        raise WireError(f"plain does not answer {type(request).__name__}")

    def _store(self, request: Condition) -> Conditioned:
        if request.prompt_embeds.shape[-1] != self._config["cross_attention_dim"]:
            raise WireError(
                f"the text embedding has width {request.prompt_embeds.shape[-1]}, "
                f"this model reads {self._config['cross_attention_dim']}"
            )
        self._conditioning = Conditioning(
            prompt_embeds=request.prompt_embeds, pooled=request.pooled, time_ids=request.time_ids
        )
        return Conditioned()

    def _predict(self, request: Noisy) -> Prediction:
        if self._conditioning is None:
            raise WireError("a latent came before its conditioning")
        batch, channels = request.latent.shape[:2]
        if channels != self._config["in_channels"] or self._conditioning.batch % max(batch, 1):
            raise WireError(f"a latent of shape {tuple(request.latent.shape)} does not fit this session")
        latent = request.latent.to(self._conditioning.prompt_embeds.dtype)
        timestep = torch.tensor(request.timestep, device=latent.device)
        prediction = predict(self._unet, latent, timestep, self._conditioning)
        return Prediction(prediction=prediction.to(request.latent.dtype))
