"""One attention map for all candidates: the pivot's.

Source: ObCLIP, NeurIPS 2025, arXiv 2510.04153, batch reuse. The guidance halves have a pivot each, which the paper
leaves open.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sfumato.errors import Unsupported
from sfumato.protocols.prompt_set.acceleration import Groups, Now

Tokens = Float[Tensor, "rows token width"]
Context = Float[Tensor, "rows context_token context_width"]
Folded = Float[Tensor, "one heads token folded_width"]


def reuse_maps(unet: nn.Module, now: Now) -> None:
    """Lets every attention layer use the pivot's map at the steps that say so.

    Args:
        unet: a copy of the caller's own, with ordinary attention (``require_plain_attention``).
        now: the step under way.
    """
    from diffusers.models.attention_processor import Attention

    layers: list[Any] = [m for m in unet.modules() if isinstance(m, Attention)]
    for layer in layers:
        layer.forward = partial(_forward, layer, layer.forward, now)


def _forward(
    layer: Any, own_forward: Any, now: Now, hidden_states: Tensor, encoder_hidden_states: Any = None, **options: Any
) -> Tensor:
    if not now.work.reuses_maps:
        return own_forward(hidden_states, encoder_hidden_states=encoder_hidden_states, **options)
    if options.pop("attention_mask", None) is not None or options:
        raise Unsupported("prompt-set cannot reuse attention maps under a mask or with adapters: set reuse_maps=false")
    context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
    return attend_with_pivots(layer, hidden_states, context, now.groups)


def attend_with_pivots(layer: Any, hidden: Tokens, context: Context, groups: Groups) -> Tokens:
    """Attention whose Q, K and softmax are computed for the first row of each group, and V for all rows.

    Candidates are folded into the width of V, so that one fused attention call serves a group.
    """
    pivots = [sum(groups[:i]) for i in range(len(groups))]
    queries = _split_heads(layer.to_q(hidden[pivots]), layer.heads)
    keys = _split_heads(layer.to_k(context[pivots]), layer.heads)
    values = layer.to_v(context).split(groups)
    attended = [
        _unfolded(F.scaled_dot_product_attention(queries[i : i + 1], keys[i : i + 1], _folded(v, layer.heads)), len(v))
        for i, v in enumerate(values)
    ]
    projection, dropout = layer.to_out
    return dropout(projection(torch.cat(attended)))


def _split_heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _folded(values: Tokens, heads: int) -> Folded:
    """Rows of V side by side, within each head."""
    return values.unflatten(-1, (heads, -1)).permute(2, 1, 0, 3).flatten(2)[None]


def _unfolded(attended: Folded, num_rows: int) -> Tokens:
    return attended[0].unflatten(-1, (num_rows, -1)).permute(2, 1, 0, 3).flatten(2)
