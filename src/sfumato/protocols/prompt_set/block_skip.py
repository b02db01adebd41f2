"""Steps without the down path and the middle: only the up path runs, on what the last full step left.

Source: ObCLIP, NeurIPS 2025, arXiv 2510.04153, block skip. The paper names the middle's output alone; the up path also
reads every residual of the down path, which are kept as in Faster Diffusion, arXiv 2312.09608.
"""

from functools import partial
from typing import Any

from torch import Tensor, nn

from sfumato.protocols.prompt_set.acceleration import Groups, Now, spread

Output = Tensor | tuple[Any, ...]


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
    for block in skipped:
        block.forward = partial(_forward, _Kept(), block.forward, now)


class _Kept:
    """One block's output at the last step that kept it, with the groups that it had then."""

    output: Output
    groups: Groups


def _forward(kept: _Kept, own_forward: Any, now: Now, *args: Any, **kwargs: Any) -> Output:
    if now.work.uses_kept_blocks:
        return _spread(kept.output, kept.groups, now.groups)
    output: Output = own_forward(*args, **kwargs)
    if now.work.keeps_blocks:
        kept.output, kept.groups = output, now.groups
    return output


def _spread(output: Output, kept: Groups, wanted: Groups) -> Output:
    if isinstance(output, tuple):
        return tuple(_spread(o, kept, wanted) for o in output)
    return spread(output, kept, wanted)
