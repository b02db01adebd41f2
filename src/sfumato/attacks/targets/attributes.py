"""Classifiers with one head an attribute, side by side in one row of logits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jaxtyping import Float, Int
from torch import Tensor

_SEPARATOR: Final = ": "


@dataclass(frozen=True, kw_only=True)
class AttributeHeads:
    """Which columns of a classifier's logits belong to which attribute, by labels such as "glasses: none"."""

    values: dict[str, tuple[str, ...]]
    """Each attribute with its values, in the order of the columns."""

    def split(self, logits: Float[Tensor, "batch column"]) -> dict[str, Float[Tensor, "batch value"]]:
        """Each attribute's own logits."""
        parts = logits.split([len(values) for values in self.values.values()], dim=1)
        return dict(zip(self.values, parts, strict=True))

    def most_likely(self, logits: Float[Tensor, "batch column"]) -> dict[str, Int[Tensor, " batch"]]:
        """For each attribute the place of its most likely value."""
        return {name: part.argmax(1) for name, part in self.split(logits).items()}


def heads_of(labels: Mapping[int, str]) -> AttributeHeads | None:
    """The heads that a model's labels name; None where they do not all name an attribute and a value.

    Args:
        labels: column to label, transformers' `id2label`.
    """
    found: dict[str, tuple[str, ...]] = {}
    for _, label in sorted(labels.items()):
        name, separator, value = label.partition(_SEPARATOR)
        if not separator or (name in found and name != list(found)[-1]):
            return None
        found[name] = (*found.get(name, ()), value)
    return AttributeHeads(values=found)
