"""Where a network can be cut: a table of its layers."""

from dataclasses import dataclass

from sfumato.attacks.targets.graph import INPUT, OUTPUT
from sfumato.attacks.targets.naming import short_names
from sfumato.attacks.targets.traced import TracedNetwork


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One place to cut."""

    name: str
    """The paper's name, such as L4, or the path where the paper has none."""
    path: str
    kind: str
    """The layer's class."""
    shapes: tuple[tuple[int, ...], ...]
    """Of the tensors that cross there for one picture, the layer's own output first."""
    num_parameters_before: int


def layers_of(traced: TracedNetwork) -> list[Layer]:
    """Every layer that a network can be cut after, in the order they end.

    Raises:
        Unsupported: the network's course depends on what it sees.
    """
    operations = traced.operations(1)
    names = {path: name for name, path in short_names(traced.network).items()}
    return [
        Layer(
            name=names.get(path, path),
            path=path,
            kind=path if path in (INPUT, OUTPUT) else type(traced.network.get_submodule(path)).__name__,
            shapes=tuple(tuple(node.meta["val"].shape) for node in operations.crossing(end)),
            num_parameters_before=operations.parameters_before(end),
        )
        for path, end in sorted(operations.ends.items(), key=lambda item: item[1])
    ]
