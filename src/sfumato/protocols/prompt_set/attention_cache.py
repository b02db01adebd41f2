"""Attention that gives again what it gave at an earlier step.

Source: ObCLIP, NeurIPS 2025, arXiv 2510.04153, after T-GATE, arXiv 2404.02747: self-attention is bypassed, and the maps
of cross-attention are kept. V of cross-attention depends on the text alone, so keeping the output gives what keeping
the map gives, and takes less memory. Unlike T-GATE, guidance goes on, and each half keeps its own.
"""

from torch import nn

from sfumato.protocols.prompt_set.acceleration import Now
from sfumato.protocols.prompt_set.keeping import When, keep_outputs


def cache_attention(unet: nn.Module, now: Now) -> None:
    """Lets every attention layer, its projections included, be answered by what was kept, at the steps that say so.

    Args:
        unet: a copy of the caller's own.
        now: the step under way.
    """
    from diffusers.models.attention_processor import Attention

    when = When(uses=lambda work: work.uses_kept_attention, keeps=lambda work: work.keeps_attention)
    keep_outputs([m for m in unet.modules() if isinstance(m, Attention)], now, when)
