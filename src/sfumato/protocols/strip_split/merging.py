"""Group statistics of the whole map from those of its tiles, the same on whoever merges them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sfumato.protocols.group_norm import merge_exact
from sfumato.protocols.strip_split.tiling import Tiling


def merged(parts: Sequence[Tensor], tiling: Tiling, level: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of each group, merged in fp64 in the order of the tiles: all who merge the same get the same.

    Args:
        parts: (two, rows, groups), mean and variance of every tile in order.
        tiling: says how many cells each has.
        level: of the map.
    """
    sizes = [float(tiling.num_cells(level, tile)) for tile in range(len(parts))]
    every = torch.stack(list(parts))
    return merge_exact(every[:, 0], every[:, 1].clamp_min(0), torch.tensor(sizes, device=every.device))
