"""Counts the work of a run on each side: the client's as it happens, the U-Net's from its layers."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from sfumato.client.report import Compute
from sfumato.models.layers import counted_flops
from sfumato.models.weights import weight_bytes
from sfumato.protocols.client_half import UnetWork


class Accounting:
    """One run's work."""

    def __init__(self) -> None:
        self._client_flops = 0

    @contextmanager
    def client_work(self) -> Iterator[None]:
        """Counts what the client computes inside the block."""
        with counted_flops() as total:
            yield
        self._client_flops += total()

    def compute(self, work: UnetWork, modules: Iterable[nn.Module]) -> Compute:
        """Adds the U-Net's work to what was counted.

        Args:
            work: of the U-Net, on both sides.
            modules: all that the client has loaded, in part or whole.
        """
        return Compute(
            client_flops=self._client_flops + work.client_flops,
            cloud_flops=work.cloud_flops,
            client_weight_bytes=sum(weight_bytes(m) for m in modules),
            cloud_weight_bytes=work.cloud_weight_bytes,
        )
