"""A cloud's whole U-Net with one session's conditioning, for protocols in which it computes in the clear."""

from typing import Any

import torch
from torch import Tensor, nn

from sfumato.errors import WireError
from sfumato.models.denoiser import Conditioning, predict
from sfumato.protocols.readable import Condition, Conditioned
from sfumato.tensors import GuidedPrediction


class WholeUnet:
    """Holds what it was told, and predicts for one latent after another.

    Run by: worker.
    Reveals: to the client, the predictions it asked for.
    """

    def __init__(self, unet: nn.Module):
        self._unet = unet
        self._config: Any = unet.config
        self._dtype = next(unet.parameters()).dtype
        self._conditioning: Conditioning | None = None

    def tell(self, condition: Condition) -> Conditioned:
        """Stores conditioning.

        Raises:
            WireError: of another shape than the model takes.
        """
        embeds = condition.prompt_embeds
        require_numbers(embeds, (None, None, self._config["cross_attention_dim"]))
        if self._config["addition_embed_type"] == "text_time":
            num_ids = 6
            times = num_ids * self._config["addition_time_embed_dim"]
            require_numbers(condition.time_ids, (len(embeds), num_ids))
            require_numbers(
                condition.pooled, (len(embeds), self._config["projection_class_embeddings_input_dim"] - times)
            )
        self._conditioning = Conditioning(
            prompt_embeds=embeds.to(self._dtype),
            pooled=None if condition.pooled is None else condition.pooled.to(self._dtype),
            time_ids=None if condition.time_ids is None else condition.time_ids.to(self._dtype),
        )
        return Conditioned()

    @torch.no_grad()
    def predict(self, latent: Tensor, timestep: float) -> GuidedPrediction:
        """Predicts, in the latent's dtype, as many rows as the conditioning has.

        Args:
            latent: from anybody.
            timestep: of the model's noise schedule.

        Raises:
            WireError: another shape, or no conditioning yet.
        """
        if self._conditioning is None:
            raise WireError("a latent came before its conditioning")
        require_numbers(latent, (None, self._config["in_channels"], None, None))
        if self._conditioning.batch % len(latent):
            raise WireError(
                f"{len(latent)} latents came with a conditioning of {self._conditioning.batch} rows: "
                "the rows must be as many, or twice as many"
            )
        own = latent.to(self._dtype)
        prediction = predict(self._unet, own, torch.tensor(timestep, device=own.device), self._conditioning)
        return prediction.to(latent.dtype)


def require_numbers(tensor: Tensor | None, shape: tuple[int | None, ...]) -> None:
    """Refuses what is not floating point of this shape; None stands for any size but zero.

    Raises:
        WireError: something else.
    """
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
