"""The worker half of ``strip-split``: the whole U-Net on one tile, suspended wherever tiles meet."""

from typing import ClassVar

import torch
from torch import nn

from sfumato.errors import WireError
from sfumato.protocols.base import WorkerHalf
from sfumato.protocols.strip_split.edges import Edges
from sfumato.protocols.strip_split.graph import require_splittable
from sfumato.protocols.strip_split.spec import Attended, Begin, StripSplit, Surroundings
from sfumato.protocols.strip_split.tile_unet import TileUNet
from sfumato.transport.peers import Peers
from sfumato.wire.messages import Message


class StripSplitWorker(WorkerHalf):
    """Runs one denoising step after another on its tile; between two requests the U-Net is suspended.

    Run by: worker.
    Reveals: to the client, its own tile of the maps where tiles meet, and of the prediction; with ``borders=direct`` to
    the other clouds what :class:`~sfumato.protocols.strip_split.spec.Edge` says.
    """

    kinds: ClassVar[tuple[type[Message], ...]] = (Begin, Surroundings, Attended)

    def __init__(self, spec: StripSplit, unet: nn.Module, cloud_index: int, peers: Peers | None = None):
        require_splittable(unet)
        tile = cloud_index % spec.num_tiles
        self._lanes = [
            TileUNet(spec, unet, tile, None if peers is None else Edges(spec, cloud_index, peers))
            for _ in range(spec.num_lanes)
        ]

    @torch.no_grad()
    def handle(self, request: Message) -> Message:
        """Starts a step, or goes on with one."""
        if not isinstance(request, Begin | Surroundings | Attended):
            raise WireError(f"strip-split does not answer {type(request).__name__}")
        if not 0 <= request.lane < len(self._lanes):
            raise WireError(f"a message came for lane {request.lane}, and there are {len(self._lanes)}")
        unet = self._lanes[request.lane]
        return unet.begin(request) if isinstance(request, Begin) else unet.go_on(request)
