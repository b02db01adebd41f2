"""Steps without the down path and the middle: only the up path runs, on what the last full step left.

Source: ObCLIP, NeurIPS 2025, arXiv 2510.04153, block skip. The paper names the middle's output alone; the up path also
reads every residual of the down path, which are kept as in Faster Diffusion, arXiv 2312.09608.
"""

from typing import Any

from torch import nn

from sfumato.protocols.prompt_set.acceleration import Now
from sfumato.protocols.prompt_set.keeping import When, keep_outputs


def skip_blocks(unet: Any, now: Now) -> None:
    """Lets the first convolution, the down blocks and the middle be answered by what was kept.

    The U-Net's own control flow stays: it still embeds the time, sorts the residuals and runs the up path.

    Args:
        unet: a copy of the caller's own.
        now: the step under way.
    """
    skipped: list[nn.Module] = [unet.conv_in, *unet.down_blocks]
    if unet.mid_block is not None:
        skipped.append(unet.mid_block)
    when = When(uses=lambda work: work.uses_kept_blocks, keeps=lambda work: work.keeps_blocks)
    keep_outputs(skipped, now, when)
