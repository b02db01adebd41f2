"""Meta tensors without their cost: what an operation gives for given shapes is worked out once and remembered.

A dry run asks the same few thousand questions hundreds of thousands of times: every strip, step and number of clouds
meets the same layers. torch answers each in Python, which takes longer than the protocol around it.
"""

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class _Known(NamedTuple):
    """What one operation gives for arguments of certain shapes."""

    flops: int
    outputs: tuple[tuple[Any, ...], ...]
    """Size, stride and number format of each tensor."""
    kind: type
    """Tensor for one of them, tuple or list for several."""


class _NotMeta(Exception):
    """An argument has values: the operation must run."""


class ShapesOnly(TorchDispatchMode):
    """Inside, operations on meta tensors are looked up, and those on others run as they are.

    ``flops`` counts what torch's own counter does: products and convolutions, multiply-adds times two.
    """

    _known: ClassVar[dict[Any, _Known]] = {}
    """For the whole process."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled here, and the guard against it costs as much as the look-up.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Looks an operation up, or runs and remembers it."""
        try:
            key = (func, _key(args), _key(tuple(kwargs.items())) if kwargs else None)
        except _NotMeta:
            return self._run(func, args, kwargs or {})[0]
        if (known := self._known.get(key)) is None:
            output, flops = self._run(func, args, kwargs or {})
            self._remember(key, flops, output, args)
            return output
        self.flops += known.flops
        if not known.outputs:
            return args[0]
        made = [torch.empty_strided(size, stride, dtype=t, device="meta") for size, stride, t in known.outputs]
        return made[0] if known.kind is Tensor else known.kind(made)

    def _run(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, int]:
        output = func(*args, **kwargs)
        count = flop_registry.get(func.overloadpacket)
        flops = int(count(*args, **kwargs, out_val=output)) if count else 0
        self.flops += flops
        return output, flops

    def _remember(self, key: Any, flops: int, output: Any, args: Any) -> None:
        if args and output is args[0]:
            self._known[key] = _Known(flops, (), Tensor)
            return
        tensors = output if isinstance(output, tuple | list) else [output]
        if all(isinstance(t, Tensor) and t.is_meta for t in tensors):
            outputs = tuple((tuple(t.shape), t.stride(), t.dtype) for t in tensors)
            self._known[key] = _Known(flops, outputs, Tensor if isinstance(output, Tensor) else type(output))


def _key(values: Any) -> tuple[Any, ...]:
    """Arguments as something to look up: of tensors what decides the result's shape, of all else type and value."""
    found: list[Any] = []
    for value in values:
        if isinstance(value, Tensor):
            if not value.is_meta:
                raise _NotMeta
            found.append((value.shape, value.stride(), value.dtype))
        else:
            kind = type(value)
            found.append((kind, _key(value) if kind is list or kind is tuple else value))
    return tuple(found)
