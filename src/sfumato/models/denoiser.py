"""The inner seam of step-wise protocols: a denoiser, local or remote."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sfumato.tensors import GuidedPrediction, Latent, PooledEmbedding, TokenEmbeddings


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What the text, and for SDXL the size, tell the U-Net.

    With guidance the rows are the negative prompt's half first, then the prompt's, as diffusers orders them; the
    scale itself stays with the sampler.
    """

    prompt_embeds: TokenEmbeddings
    pooled: PooledEmbedding | None = None
    time_ids: Float[Tensor, "batch six"] | None = None

    @property
    def batch(self) -> int:
        """Rows, both guidance halves together."""
        return self.prompt_embeds.shape[0]

    def added(self) -> dict[str, Tensor] | None:
        """The U-Net's ``added_cond_kwargs``, or None for Stable Diffusion 1.x and 2.x."""
        if self.pooled is None or self.time_ids is None:
            return None
        return {"text_embeds": self.pooled, "time_ids": self.time_ids}

    def rows(self, which: slice) -> "Conditioning":
        """Some of the rows."""
        return replace(
            self,
            prompt_embeds=self.prompt_embeds[which],
            pooled=None if self.pooled is None else self.pooled[which],
            time_ids=None if self.time_ids is None else self.time_ids[which],
        )

    def to(self, device: torch.device | str) -> "Conditioning":
        """The same on another device."""
        return replace(
            self,
            prompt_embeds=self.prompt_embeds.to(device),
            pooled=None if self.pooled is None else self.pooled.to(device),
            time_ids=None if self.time_ids is None else self.time_ids.to(device),
        )


Denoiser = Callable[[Latent, Tensor, Conditioning], GuidedPrediction]
"""Called with the scaled latent (batch b), the timestep (a scalar tensor) and the conditioning (batch b, or 2b with
guidance); returns the raw prediction, with the conditioning's batch."""


def predict(unet: nn.Module, latent: Latent, timestep: Tensor, conditioning: Conditioning) -> GuidedPrediction:
    """Runs a U-Net on one latent, repeated for the guidance halves."""
    repeats = conditioning.batch // latent.shape[0]
    sample = torch.cat([latent] * repeats) if repeats > 1 else latent
    output: Any = unet(
        sample,
        timestep,
        encoder_hidden_states=conditioning.prompt_embeds,
        added_cond_kwargs=conditioning.added(),
        return_dict=False,
    )
    return output[0]


def meta_conditioning(config: Any, *, batch: int, num_tokens: int) -> Conditioning:
    """Conditioning of the right shapes without values, to count a U-Net on the meta device."""
    pooled = time_ids = None
    if config["addition_embed_type"] == "text_time":
        num_ids = 6
        width = config["projection_class_embeddings_input_dim"] - num_ids * config["addition_time_embed_dim"]
        pooled = torch.empty(batch, width, device="meta")
        time_ids = torch.empty(batch, num_ids, device="meta")
    embeds = torch.empty(batch, num_tokens, config["cross_attention_dim"], device="meta")
    return Conditioning(prompt_embeds=embeds, pooled=pooled, time_ids=time_ids)
