"""The worker half of ``plain``: run the U-Net."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

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
        self._dtype = next(unet.parameters()).dtype
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
        embeds = request.prompt_embeds
        _require_numbers(embeds, (None, None, self._config["cross_attention_dim"]))
        if self._config["addition_embed_type"] == "text_time":
            num_ids = 6
            times = num_ids * self._config["addition_time_embed_dim"]
            _require_numbers(request.time_ids, (len(embeds), num_ids))
            _require_numbers(
                request.pooled, (len(embeds), self._config["projection_class_embeddings_input_dim"] - times)
            )
        self._conditioning = Conditioning(
            prompt_embeds=embeds.to(self._dtype),
            pooled=None if request.pooled is None else request.pooled.to(self._dtype),
            time_ids=None if request.time_ids is None else request.time_ids.to(self._dtype),
        )
        return Conditioned()

    def _predict(self, request: Noisy) -> Prediction:
        if self._conditioning is None:
            raise WireError("a latent came before its conditioning")
        _require_numbers(request.latent, (None, self._config["in_channels"], None, None))
        if self._conditioning.batch % len(request.latent):
            raise WireError(
                f"{len(request.latent)} latents came with a conditioning of {self._conditioning.batch} rows: "
                "the rows must be as many, or twice as many"
            )
        latent = request.latent.to(self._dtype)
        timestep = torch.tensor(request.timestep, device=latent.device)
        prediction = predict(self._unet, latent, timestep, self._conditioning)
        return Prediction(prediction=prediction.to(request.latent.dtype))


def _require_numbers(tensor: Tensor | None, shape: tuple[int | None, ...]) -> None:
    """Refuses what is not floating point of this shape; None stands for any size but zero."""
    if tensor is None:
        raise WireError(f"a tensor of shape {_described(shape)} is missing, which this model needs")
    fits = tensor.ndim == len(shape) and all(
        got == want or (want is None and got > 0) for got, want in zip(tensor.shape, shape, strict=True)
    )
    if not fits or not tensor.is_floating_point():
        raise WireError(
            f"a tensor of shape {_described(tuple(tensor.shape))} and format {tensor.dtype} came where floating point "
            f"of shape {_described(shape)} was due"
        )


def _described(shape: tuple[int | None, ...]) -> str:
    return "x".join("n" if size is None else str(size) for size in shape)
