"""A network cut in two at a layer: what the device runs, what crosses to the cloud, what the cloud runs."""

from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from sfumato.attacks.targets.naming import path_of
from sfumato.attacks.targets.traced import Pixels, TracedNetwork
from sfumato.errors import Unsupported

Features = tuple[Tensor, ...]
"""The tensors that cross a cut, the layer's own output first."""


class CutModel:
    """A network as `second(first(pixels))`: the paper's F2 and F1, bit for bit equal to the uncut network.

    The features are all tensors that are computed up to the end of the layer and used after it. After a whole residual
    block that is one tensor; inside it the block's input crosses too, on the shortcut, for F2 could not go on without.
    A cloud that is sent less could not compute, so an attack is given no less. Values that are the same for every
    picture (position numbers, masks) do not cross. A layer that runs more than once is cut after its last run.

    Both halves are differentiable and use the network's own parameters; `second` leaves the features as they were.

    Args:
        traced: the network.
        layer: `input`, `output`, a paper's name such as L4, or a layer's path; see `layers_of`.

    Raises:
        ValueError: no such layer; the sentence lists near ones.
        Unsupported: the network's course depends on what it sees, or its features cannot be differentiated.

    Source: "Unlocking Visual Secrets", Section 3.1: F = F2 o F1, z_mid = F1(x).
    """

    def __init__(self, traced: TracedNetwork, layer: str) -> None:
        self._traced = traced
        self._halves: dict[int, tuple[fx.GraphModule, fx.GraphModule]] = {}
        self.layer = path_of(layer, traced.network, list(traced.operations(1).ends))
        """The layer's path."""
        self._check_gradient()

    @property
    def feature_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the features of one picture, as a batch of one."""
        return self._shapes(1)

    @property
    def num_parameters_before(self) -> int:
        """Parameter values that F1 uses."""
        operations = self._traced.operations(1)
        return operations.parameters_before(operations.ends[self.layer])

    def whole(self, pixels: Pixels) -> Any:
        """The uncut network's result."""
        return self._traced(pixels)

    def first(self, pixels: Pixels) -> Features:
        """F1, from pictures to what crosses.

        Run by: client.

        Raises:
            ValueError: pictures of another shape than the network was cut for.
        """
        shape = self._traced.picture_shape
        if tuple(pixels.shape[1:]) != shape or not len(pixels):
            raise ValueError(
                f"pixels must have the shape (batch, {', '.join(map(str, shape))}), got "
                f"{tuple(pixels.shape)}; cut the network anew for pictures of another size"
            )
        return tuple(self._cut(len(pixels))[0](pixels))

    def second(self, features: Features) -> Any:
        """F2, from what crosses to the network's result.

        Run by: worker.
        Reveals: all that an attack on this cut is given.

        Raises:
            ValueError: features of another number or shape than F1 gives.
        """
        self.check(features)
        batch = self._batch(features)
        return self._traced.operations(batch).assemble(self._cut(batch)[1](*features))

    def check(self, features: Features) -> None:
        """Refuses features that F1 cannot have given.

        Raises:
            ValueError: another number or shape.
        """
        found = tuple(tuple(part.shape) for part in features)
        if not found or found != self._shapes(self._batch(features)):
            raise ValueError(
                f"features after {self.layer} must have the shapes {self.feature_shapes} for one picture, got {found}; "
                "take them at the same layer of the same network"
            )

    def _batch(self, features: Features) -> int:
        return max(1, features[0].numel() // prod(self.feature_shapes[0]))

    def _shapes(self, batch: int) -> tuple[tuple[int, ...], ...]:
        operations = self._traced.operations(batch)
        crossing = operations.crossing(operations.ends[self.layer])
        return tuple(tuple(node.meta["val"].shape) for node in crossing)

    def _check_gradient(self) -> None:
        with torch.enable_grad():
            features = self.first(self._traced.blank(1).requires_grad_())
        if not any(part.requires_grad for part in features):
            raise Unsupported(
                f"{self._traced.name} cannot be inverted by gradient after {self.layer}: nothing that crosses there "
                "depends differentiably on the picture; choose an earlier layer"
            )

    def _cut(self, batch: int) -> tuple[fx.GraphModule, fx.GraphModule]:
        if batch not in self._halves:
            operations = self._traced.operations(batch)
            self._halves[batch] = operations.halves(operations.ends[self.layer])
        return self._halves[batch]
