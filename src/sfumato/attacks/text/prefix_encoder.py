"""The public text encoder, one position at a time: what every next token would give after the same beginning."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_text_encoder, load_tokenizer

KeysValues = tuple[Tensor, Tensor]
"""(head, position, width) each, of one layer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prefix:
    """A beginning, and what later positions attend to in it."""

    tokens: tuple[int, ...]
    layers: tuple[KeysValues, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Continued:
    """What tokens in the next position give, each after the same beginning."""

    embeds: Float[Tensor, "candidate width"]
    prefix: Prefix
    tokens: Int[Tensor, " candidate"]
    layers: tuple[KeysValues, ...]
    """(candidate, head, width) each: what the new position adds."""

    def take(self, candidate: int) -> Prefix:
        """The beginning, one token longer."""
        layers = tuple(
            (torch.cat([k, new_k[candidate, :, None]], dim=1), torch.cat([v, new_v[candidate, :, None]], dim=1))
            for (k, v), (new_k, new_v) in zip(self.prefix.layers, self.layers, strict=True)
        )
        return Prefix(tokens=(*self.prefix.tokens, int(self.tokens[candidate])), layers=layers)


class PrefixEncoder:
    """A CLIP text encoder with causal attention: position i depends on tokens up to i only.

    For SDXL the first encoder, whose last layer but one fills the first columns of the embedding.

    Args:
        model: public.
    """

    def __init__(self, model: ModelFolder):
        self.tokenizer: Any = load_tokenizer(model, "tokenizer")
        encoder: Any = load_text_encoder(model, "text_encoder")
        # With a projection on top, transformers keeps the text model inside.
        text = getattr(encoder, "text_model", encoder)
        self._embeddings, self._norm = text.embeddings, text.final_layer_norm
        self._layers, self._num_heads = list(text.encoder.layers), encoder.config.num_attention_heads
        if model.has("text_encoder_2"):
            self._norm, self._layers = torch.nn.Identity(), self._layers[:-1]

    @property
    def width(self) -> int:
        """Of an embedding."""
        return int(self._embeddings.token_embedding.embedding_dim)

    @property
    def num_tokens(self) -> int:
        """Of the vocabulary."""
        return int(self._embeddings.token_embedding.num_embeddings)

    @property
    def length(self) -> int:
        """Positions of a text."""
        return int(self.tokenizer.model_max_length)

    def start(self) -> Prefix:
        """The token that every text begins with."""
        nothing = torch.zeros(self._num_heads, 0, self.width // self._num_heads)
        empty = Prefix(tokens=(), layers=((nothing, nothing),) * len(self._layers))
        return self.continued(empty, torch.tensor([self.tokenizer.bos_token_id])).take(0)

    @torch.no_grad()
    def continued(self, prefix: Prefix, tokens: Int[Tensor, " candidate"]) -> Continued:
        """Tries tokens in the next position."""
        position = torch.tensor(len(prefix.tokens))
        hidden = self._embeddings.token_embedding(tokens) + self._embeddings.position_embedding(position)
        found = []
        for layer, (keys, values) in zip(self._layers, prefix.layers, strict=True):
            normed, attn = layer.layer_norm1(hidden), layer.self_attn
            query, key, value = (
                project(normed).unflatten(-1, (self._num_heads, -1))
                for project in (attn.q_proj, attn.k_proj, attn.v_proj)
            )
            found.append((key, value))
            before = torch.einsum("nhd,hpd->nhp", query, keys)
            weights = F.softmax(
                torch.cat([before, (query * key).sum(-1, keepdim=True)], -1) / query.shape[-1] ** 0.5, -1
            )
            gathered = torch.einsum("nhp,hpd->nhd", weights[..., :-1], values) + weights[..., -1:] * value
            hidden = hidden + attn.out_proj(gathered.flatten(1))
            hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
        return Continued(embeds=self._norm(hidden), prefix=prefix, tokens=tokens, layers=tuple(found))
