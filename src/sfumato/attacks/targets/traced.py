"""A network whose operations are known, for batches of any size."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.attacks.targets.graph import Operations, operations_of

Pixels = Tensor
"""Pictures as a network takes them, resized and normalised: (batch, 3, height, width); checked, with a sentence."""


def as_it_is(result: Any) -> Any:
    """Reads a network's result as the network gives it."""
    return result


class TracedNetwork:
    """A network and its operations, traced once for each size of batch: seconds for a large network.

    The network is put into evaluation mode; move it to its device and type first.

    Args:
        network: takes one batch of pictures.
        picture_shape: channels, height and width of one picture as the network takes it.
        read: turns the network's result into a tensor or a tuple of tensors.
    """

    def __init__(
        self, network: nn.Module, *, picture_shape: tuple[int, int, int], read: Callable[[Any], Any] = as_it_is
    ) -> None:
        self.network = network.eval()
        self.picture_shape = picture_shape
        self._read = read
        self._operations: dict[int, Operations] = {}

    @property
    def name(self) -> str:
        """The network's class."""
        return type(self.network).__name__

    def __call__(self, pixels: Pixels) -> Any:
        """The network's own result, read."""
        return self._read(self.network(pixels))

    def blank(self, batch: int) -> Tensor:
        """Pictures of zeros on the network's device and in its type."""
        values = (value for value in self.network.parameters() if value.is_floating_point())
        parameter = next(values, torch.zeros(()))
        return torch.zeros(batch, *self.picture_shape, device=parameter.device, dtype=parameter.dtype)

    def operations(self, batch: int) -> Operations:
        """What it computes for a batch of this size.

        Raises:
            Unsupported: the network's course depends on the values it sees.
        """
        if batch not in self._operations:
            self._operations[batch] = operations_of(self.network, self.blank(batch), self._read)
        return self._operations[batch]
