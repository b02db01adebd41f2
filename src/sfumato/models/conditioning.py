"""Prompts to conditioning: the text encoders of Stable Diffusion 1.x, 2.x and XL."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sfumato.models.denoiser import Conditioning
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_text_encoder, load_tokenizer
from sfumato.models.weights import weight_bytes
from sfumato.tensors import PooledEmbedding, TokenEmbeddings

_COMPONENTS = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))


@dataclass(frozen=True)
class _Reader:
    tokenizer: Any
    encoder: nn.Module

    def tokens(self, prompts: list[str]) -> Any:
        return self.tokenizer(
            prompts,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )

    def surplus(self, prompt: str) -> int:
        """How many tokens the encoder never sees."""
        return max(0, len(self.tokenizer(prompt, verbose=False).input_ids) - self.tokenizer.model_max_length)


class PromptEncoder:
    """The text encoders of one model: on the client, or on a cloud that reads prompts (prompt-set)."""

    def __init__(self, model: ModelFolder, dtype: torch.dtype = torch.float32):
        self._readers = [
            _Reader(load_tokenizer(model, tokenizer), load_text_encoder(model, encoder, dtype))
            for tokenizer, encoder in _COMPONENTS
            if model.has(encoder)
        ]
        self._is_xl = len(self._readers) > 1
        self._zero_empty = bool(model.index.get("force_zeros_for_empty_prompt", True))

    @property
    def weight_bytes(self) -> int:
        """Bytes of the encoders' parameters."""
        return sum(weight_bytes(r.encoder) for r in self._readers)

    @property
    def num_tokens(self) -> int:
        """Length to which every prompt is padded."""
        return int(self._readers[0].tokenizer.model_max_length)

    @property
    def encoders(self) -> list[nn.Module]:
        """The text encoder modules, for counting."""
        return [r.encoder for r in self._readers]

    def surplus_tokens(self, prompt: str) -> int:
        """How many tokens at the end of the prompt no encoder reads."""
        return max(r.surplus(prompt) for r in self._readers)

    @torch.no_grad()
    def encode(
        self,
        prompts: list[str],
        negative_prompts: list[str] | None,
        *,
        guided: bool,
        num_images_per_prompt: int,
        height: int,
        width: int,
    ) -> Conditioning:
        """Encodes prompts as diffusers' pipelines do.

        Args:
            prompts: one or more.
            negative_prompts: as many, or None for empty ones.
            guided: whether the negative half is needed.
            num_images_per_prompt: repeats of each prompt.
            height, width: of the picture in pixels (SDXL is told).
        """
        halves = [self._texts(prompts)]
        if guided:
            negative = self._texts(negative_prompts or [""] * len(prompts))
            if self._is_xl and self._zero_empty and negative_prompts is None:
                negative = (torch.zeros_like(negative[0]), torch.zeros_like(negative[1]))
            halves.insert(0, negative)
        embeds = torch.cat([h[0].repeat_interleave(num_images_per_prompt, dim=0) for h in halves])
        if not self._is_xl:
            return Conditioning(prompt_embeds=embeds)
        pooled = torch.cat([h[1].repeat_interleave(num_images_per_prompt, dim=0) for h in halves])
        sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=embeds.dtype)
        return Conditioning(prompt_embeds=embeds, pooled=pooled, time_ids=sizes.repeat(len(embeds), 1))

    def _texts(self, prompts: list[str]) -> tuple[TokenEmbeddings, PooledEmbedding]:
        if not self._is_xl:
            embeds = self._last_hidden(self._readers[0], prompts)
            return embeds, embeds[:, 0]
        outputs = []
        for reader in self._readers:
            outputs.append(reader.encoder(reader.tokens(prompts).input_ids, output_hidden_states=True))
        # The last layer of either encoder is not used: SDXL reads the one before it.
        return torch.cat([o.hidden_states[-2] for o in outputs], dim=-1), outputs[-1].text_embeds

    def _last_hidden(self, reader: _Reader, prompts: list[str]) -> TokenEmbeddings:
        tokens = reader.tokens(prompts)
        masked = getattr(reader.encoder.config, "use_attention_mask", False)
        return reader.encoder(tokens.input_ids, attention_mask=tokens.attention_mask if masked else None)[0]
