"""A network as the list of operations it runs, which can be cut in two after any of them."""

import operator
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from sfumato.errors import Unsupported

INPUT: Final = "input"
"""The cut before the first operation: the features are the network's input."""
OUTPUT: Final = "output"
"""The cut after the last operation: the features are the network's output."""


class _Read(nn.Module):
    """A network whose result is read by a function."""

    def __init__(self, network: nn.Module, read: Callable[[Any], Any]) -> None:
        super().__init__()
        self.network = network
        self.read = read

    def forward(self, pixels: Tensor) -> Any:
        return self.read(self.network(pixels))


@dataclass(frozen=True, kw_only=True, eq=False)
class Operations:
    """A network's operations in the order they run, for inputs of one shape.

    Parameters are the network's own, not copies. Operations that do not depend on the input (position numbers, masks)
    belong to neither side of a cut: each side that needs one runs it.
    """

    module: fx.GraphModule
    ends: dict[str, int]
    """Each layer that computes something, by its path in the network, with the place of its last operation."""
    form: pytree.TreeSpec
    """How the network arranges its result."""

    @cached_property
    def nodes(self) -> list[fx.Node]:
        """Every operation, parameter, input and result."""
        return list(self.module.graph.nodes)

    @cached_property
    def _last_use(self) -> dict[fx.Node, int]:
        """The place where each value that depends on the input is used last, of those that the result depends on."""
        place = {node: index for index, node in enumerate(self.nodes)}
        needed, varying = _ancestors(self.nodes[-1:]), _descendants(self.nodes)
        return {
            node: max(place[user] for user in node.users if user in needed)
            for node in self.nodes[:-1]
            if node in varying and node in needed
        }

    def crossing(self, end: int) -> list[fx.Node]:
        """Values that are computed up to this place and needed after it: the layer's own first, then older to newer."""
        found = [node for node in self.nodes[: end + 1] if self._last_use.get(node, end) > end]
        return sorted(found, key=lambda node: node is not self.nodes[end])

    def halves(self, end: int) -> tuple[fx.GraphModule, fx.GraphModule]:
        """The operations before and after this place: input to crossing values, crossing values to the result."""
        crossing = self.crossing(end)
        source = [node for node in self.nodes if node.op == "placeholder"]
        result = self.nodes[-1].args[0]
        flat = list(result) if isinstance(result, (tuple, list)) else [result]
        return self._part(source, crossing), self._part(crossing, flat)

    def parameters_before(self, end: int) -> int:
        """Parameter values that the operations up to this place use."""
        names = {str(node.target) for node in _ancestors(self.crossing(end)) if node.op == "get_attr"}
        return sum(value.numel() for name, value in self.module.named_parameters() if name in names)

    def assemble(self, flat: Sequence[Any]) -> Any:
        """The network's result in its own form from the list that the second half gives."""
        return pytree.tree_unflatten(list(flat), self.form)

    def _part(self, given: Sequence[fx.Node], wanted: Sequence[Any]) -> fx.GraphModule:
        graph = fx.Graph()
        copies = {node: graph.placeholder(f"given_{index}") for index, node in enumerate(given)}
        needed = _ancestors([node for node in wanted if isinstance(node, fx.Node)], stop=set(given))
        for node in self.nodes:
            if node in needed and node not in copies:
                copies[node] = graph.node_copy(node, copies.__getitem__)
        graph.output(tuple(copies[node] if isinstance(node, fx.Node) else node for node in wanted))
        return fx.GraphModule(self.module, graph)


def operations_of(network: nn.Module, example: Tensor, read: Callable[[Any], Any]) -> Operations:
    """Runs a network once on an example and notes what it does.

    Args:
        network: takes one batch of pictures.
        example: a batch of the shape, type and device to come; its values do not matter.
        read: turns the network's result into what is wanted of it.

    Raises:
        Unsupported: the network's course depends on the values it sees.
    """
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            exported = torch.export.export(_Read(network, read).eval(), (example,), strict=False)
            module = exported.run_decompositions({}).module()
    except Exception as error:  # whatever a user's network raises
        raise Unsupported(
            f"{type(network).__name__} cannot be cut: torch.export cannot follow it on an input of shape "
            f"{tuple(example.shape)} ({type(error).__name__}); give a network that takes one batch of pictures and "
            "whose course does not depend on what they show"
        ) from error
    return Operations(module=module, ends=_ends(list(module.graph.nodes)), form=exported.call_spec.out_spec)


def _ends(nodes: Sequence[fx.Node]) -> dict[str, int]:
    ends = {}
    for index, node in enumerate(nodes):
        for path in _paths(node):
            ends[path] = index
        if node.op == "placeholder":
            ends[INPUT] = index
    ends[OUTPUT] = len(nodes) - 2
    return {path: _past_items(nodes, end) for path, end in ends.items()}


def _past_items(nodes: Sequence[fx.Node], end: int) -> int:
    """An operation with several results is over when they are told apart."""
    while nodes[end + 1].target is operator.getitem:
        end += 1
    return end


def _paths(node: fx.Node) -> Iterable[str]:
    """The layers that an operation runs in, outermost first, by their paths in the network."""
    for path, _ in node.meta.get("nn_module_stack", {}).values():
        _, _, inner = path.partition("network.")
        if path.startswith("network.") and inner:
            yield inner.partition("@")[0]


def _ancestors(nodes: Iterable[Any], stop: set[fx.Node] | frozenset[fx.Node] = frozenset()) -> set[fx.Node]:
    """These nodes and everything they are computed from, up to `stop`."""
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            if node not in stop:
                waiting += node.all_input_nodes
    return found


def _descendants(nodes: Sequence[fx.Node]) -> set[fx.Node]:
    """Everything that depends on the input."""
    found: set[fx.Node] = set()
    for node in nodes:
        if node.op == "placeholder" or any(source in found for source in node.all_input_nodes):
            found.add(node)
    return found
