"""Modules that are answered by what they gave at an earlier step: the common part of attention cache and block skip."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from sfumato.protocols.prompt_set.acceleration import Groups, Now, Work, spread

Output = Tensor | tuple[Any, ...]


class When(NamedTuple):
    """At which steps."""

    uses: Callable[[Work], bool]
    """A module is not run, and gives again what was kept."""
    keeps: Callable[[Work], bool]
    """What it gives is kept."""


class _Kept:
    """One module's output at the last step that kept it, with the groups that it had then."""

    output: Output
    groups: Groups


def keep_outputs(modules: Iterable[nn.Module], now: Now, when: When) -> None:
    """Replaces the modules' forwards.

    Args:
        modules: of a copy of the caller's own U-Net.
        now: the step under way.
        when: what is kept and used.
    """
    for module in modules:
        replaced: Any = module
        replaced.forward = partial(_forward, _Kept(), module.forward, now, when)


def _forward(kept: _Kept, own_forward: Any, now: Now, when: When, *args: Any, **kwargs: Any) -> Output:
    if when.uses(now.work):
        return _spread(kept.output, kept.groups, now.groups)
    output: Output = own_forward(*args, **kwargs)
    if when.keeps(now.work):
        kept.output, kept.groups = output, now.groups
    return output


def _spread(output: Output, kept: Groups, wanted: Groups) -> Output:
    if isinstance(output, tuple):
        return tuple(_spread(o, kept, wanted) for o in output)
    return spread(output, kept, wanted)
