"""Attention that gives again what it gave at an earlier step.

Source: ObCLIP, NeurIPS 2025, arXiv 2510.04153, after T-GATE, arXiv 2404.02747: self-attention is bypassed, and the maps
of cross-attention are kept. V of cross-attention depends on the text alone, so keeping the output gives what keeping
the map gives, and takes less memory. Unlike T-GATE, guidance goes on, and each half keeps its own.
"""

from functools import partial
from typing import Any

from torch import Tensor, nn

from sfumato.protocols.prompt_set.acceleration import Groups, Now, spread


def cache_attention(unet: nn.Module, now: Now) -> None:
    """Lets every attention layer, its projections included, be answered by what was kept, at the steps that say so.

    Args:
        unet: a copy of the caller's own.
        now: the step under way.
    """
    from diffusers.models.attention_processor import Attention

    layers: list[Any] = [m for m in unet.modules() if isinstance(m, Attention)]
    for layer in layers:
        layer.forward = partial(_forward, _Kept(), layer.forward, now)


class _Kept:
    """One layer's output at the last step that kept it, with the groups that it had then."""

    rows: Tensor
    groups: Groups


def _forward(kept: _Kept, own_forward: Any, now: Now, *args: Any, **kwargs: Any) -> Tensor:
    if now.work.uses_kept_attention:
        return spread(kept.rows, kept.groups, now.groups)
    output = own_forward(*args, **kwargs)
    if now.work.keeps_attention:
        kept.rows, kept.groups = output, now.groups
    return output
