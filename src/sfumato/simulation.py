"""All parties of a run in one process: for tests, sweeps and exact counting."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sfumato.client.clouds import Clouds
from sfumato.client.pipeline import PrivatePipeline
from sfumato.client.private import private_of
from sfumato.models.folder import ModelFolder, find_model
from sfumato.protocols.base import Spec
from sfumato.transport.base import Channel
from sfumato.transport.in_process import InProcessChannel, InProcessPeers
from sfumato.worker.sessions import CloudSession, ServedModel, serve_model


class InProcessClouds:
    """Clouds that are objects in this process; they share one copy of the weights."""

    def __init__(self, served: ServedModel, num_clouds: int):
        self._served = served
        self._num_clouds = num_clouds

    @contextmanager
    def open_channel(self) -> Iterator[Channel]:
        """Opens a session with every cloud."""
        peers = InProcessPeers.of_all(self._num_clouds)
        sessions = [CloudSession(self._served, peers=each) for each in peers]
        with InProcessChannel([session.handle for session in sessions], peers) as channel:
            yield channel

    def close(self) -> None:
        """Nothing was started."""


def simulate(
    model: ModelFolder | str,
    spec: Spec,
    *,
    scheduler: str = "dpm++",
    torch_dtype: torch.dtype = torch.float32,
    clouds: Clouds | None = None,
    device_model: str | Path | None = None,
    taxonomy: str | Path | None = None,
    detectors: Sequence[Any] = (),
    denoise_with: Spec | None = None,
) -> PrivatePipeline:
    """Makes a pipeline whose clouds are in this process, with the same messages and the same byte counts.

    Args:
        model: its folder or name.
        spec: the protocol.
        scheduler: ddim, dpm++, euler, lcm or plms.
        torch_dtype: on the client.
        clouds: made before, to share a loaded model between simulations or to record; by default new ones.
        device_model, taxonomy, detectors: for prompt-set, as in :meth:`PrivatePipeline.from_pretrained`.
        denoise_with: for homomorphic with further clouds, as there.

    Example:
        >>> pipe = simulate("portraits", LayerSplit(num_clouds=2))
        >>> pipe("a smiling woman with a hat", num_inference_steps=10, seed=1).report.traffic.rounds
    """
    folder = find_model(model) if isinstance(model, str) else model
    private = private_of(spec, folder, device_model, taxonomy, detectors)
    found = clouds or InProcessClouds(serve_model(folder), spec.num_clouds)
    return PrivatePipeline(
        folder,
        spec,
        found,
        torch_dtype=torch_dtype,
        scheduler=scheduler,
        private=private,
        denoise_with=denoise_with,
    )
