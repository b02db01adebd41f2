"""The client's part of the attention: what it computes from the whole map and the text."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sfumato.protocols.group_norm import normalise
from sfumato.protocols.strip_split.layers import as_map, as_tokens, project_in
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.tensors import FeatureMap, TokenEmbeddings

Tokens = Float[Tensor, "rows token features"]
KeysValues = tuple[Tokens, Tokens]
Gathered = Float[Tensor, "rows inner_width height width"]
"""As many rows as the text has, from the first place on where it is read."""


class Attention:
    """The attention layers that the client computes, with the text's keys and values kept from step to step.

    Args:
        unet: with the weights that :meth:`StripSplitClient.keeps` names.
        spec: says which part of a transformer block is the client's.
    """

    def __init__(self, unet: nn.Module, spec: StripSplit):
        self._unet: Any = unet
        self._spec = spec
        self._text: TokenEmbeddings | None = None
        self._of_text: dict[str, KeysValues] = {}

    def begin(self, text: TokenEmbeddings) -> None:
        """Takes the text of a step; keys and values of the same text are not computed again."""
        if self._text is not text:
            self._text, self._of_text = text, {}

    def block(self, path: str, features: FeatureMap, statistics: tuple[Tensor, Tensor] | None, rows: slice) -> Gathered:
        """What the attention of one transformer block adds to its tokens, as a map.

        Where the guidance halves are still the same, ``features`` has one of them, and the text parts them.

        Args:
            path: of the block.
            features: of a transformer's first block its input, of others the hidden state.
            statistics: of the group norm before the first block.
            rows: of the text, which the answer has.
        """
        transformer = self._unet.get_submodule(path.rsplit(".", 2)[0])
        block = self._unet.get_submodule(path)
        if statistics is None:
            hidden = as_tokens(features)
        else:
            hidden = project_in(transformer, normalise(features, *statistics, transformer.norm))
        delta = _attend_to_itself(block.attn1, block.norm1(hidden))
        if self._spec.cross_attention == "client":
            keys, values = self._keys_values(f"{path}.attn2", block.attn2, rows)
            query = block.attn2.to_q(block.norm2(hidden + delta))
            found = block.attn2.to_out[0](_product(block.attn2.heads, _for_all(query, len(keys)), keys, values))
            delta = _for_all(delta, len(found)) + found
        return as_map(delta, (features.shape[2], features.shape[3]))

    def gathered(self, path: str, features: FeatureMap, rows: slice) -> Gathered:
        """What one attention layer gathers before its last projection, from hidden states or from queries."""
        attn = self._unet.get_submodule(path)
        tokens = as_tokens(features)
        if path.endswith("attn1"):
            if self._spec.attention == "hidden":
                query, keys, values = attn.to_q(tokens), attn.to_k(tokens), attn.to_v(tokens)
            else:
                query, keys, values = tokens.chunk(3, dim=-1)
        else:
            query = attn.to_q(tokens) if self._spec.attention == "hidden" else tokens
            keys, values = self._keys_values(path, attn, rows)
            query = _for_all(query, len(keys))
        return as_map(_product(attn.heads, query, keys, values), (features.shape[2], features.shape[3]))

    def _keys_values(self, path: str, attn: Any, rows: slice) -> KeysValues:
        if path not in self._of_text:
            self._of_text[path] = attn.to_k(self._text), attn.to_v(self._text)
        keys, values = self._of_text[path]
        return keys[rows], values[rows]


def _for_all(tokens: Tokens, num_rows: int) -> Tensor:
    """One guidance half for both, where there is one."""
    return tokens if len(tokens) == num_rows else torch.cat([tokens] * (num_rows // len(tokens)))


def _attend_to_itself(attn: Any, tokens: Tokens) -> Tokens:
    gathered = _product(attn.heads, attn.to_q(tokens), attn.to_k(tokens), attn.to_v(tokens))
    return attn.to_out[0](gathered)


def _product(num_heads: int, query: Tokens, keys: Tensor, values: Tensor) -> Tokens:
    """Scaled dot products; never holds a map of all pairs."""
    split = [t.unflatten(-1, (num_heads, -1)).transpose(1, 2) for t in (query, keys, values)]
    return F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
