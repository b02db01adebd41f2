"""What a transcript tells, in the model's terms and not the protocol's: one reader a protocol, one seam for attacks."""

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.tensors import FeatureMap, TokenEmbeddings


class Half(StrEnum):
    """Which guidance halves rows are of."""

    BOTH = "both"
    """All that there are: with guidance the negative prompt's rows first, then the prompt's."""
    NEGATIVE = "negative"
    PROMPT = "prompt"
    GUIDED = "guided"
    """Of predictions: after guidance."""


class Window(NamedTuple):
    """Cells of a map: half-open ranges, counted in the whole map's rows and columns."""

    top: int
    bottom: int
    left: int
    right: int
    height: int
    """Of the whole map."""
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """Its rows and columns."""
        return self.bottom - self.top, self.right - self.left

    @property
    def share(self) -> float:
        """Of the map's cells."""
        return (self.bottom - self.top) * (self.right - self.left) / (self.height * self.width)

    @property
    def is_whole(self) -> bool:
        """The window is the map."""
        return self.share == 1


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenMap:
    """Part of a map of the U-Net at one step, as one cloud or a coalition holds it."""

    step: int
    """From 0, one for each call of the U-Net."""
    timestep: float
    """Of the model's noise schedule; nan where the protocol does not tell it."""
    window: Window
    values: FeatureMap
    """(rows, channel, height, width) of the window, in fp32. Of latents and what they became without guidance one row
    a picture; of features and predictions with guidance two, the negative prompt's pictures first."""
    half: Half = Half.BOTH
    """Of features and predictions."""

    def within(self, window: Window) -> "SeenMap":
        """The part of it that lies in a window of the same map; their common cells."""
        own = self.window
        common = Window(
            max(own.top, window.top),
            min(own.bottom, window.bottom),
            max(own.left, window.left),
            min(own.right, window.right),
            own.height,
            own.width,
        )
        rows = slice(common.top - own.top, common.bottom - own.top)
        columns = slice(common.left - own.left, common.right - own.left)
        return replace(self, window=common, values=self.values[:, :, rows, columns])


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenText:
    """Linear images of the text embedding, or the embedding itself."""

    embeds: TokenEmbeddings | None
    """(rows, token, width), with guidance the negative prompt's rows first; exact."""
    projections: Mapping[str, tuple[Float[Tensor, "row token inner"], Float[Tensor, "row token inner"]]]
    """K and V of the text at each cross-attention layer, by the layer's path in the U-Net (``….attn2``)."""
    half: Half = Half.BOTH


def assembled(maps: Sequence[SeenMap]) -> tuple[FeatureMap, Bool[Tensor, "height width"]]:
    """What the clouds of a coalition hold of one map together.

    Args:
        maps: of one step and layer, of one or several clouds; those of another guidance half than the first are left
            out.

    Returns:
        The whole map, zero where nobody saw it, and which cells were seen.
    """
    whole = maps[0].window
    values = maps[0].values.new_zeros(*maps[0].values.shape[:2], whole.height, whole.width)
    known = torch.zeros(whole.height, whole.width, dtype=torch.bool)
    for each in (m for m in maps if m.half is maps[0].half):
        place = (slice(each.window.top, each.window.bottom), slice(each.window.left, each.window.right))
        values[(slice(None), slice(None), *place)] = each.values
        known[place] = True
    return values, known


class Reader(ABC):
    """Reads transcripts of one protocol; maps come step by step, and in each step cloud by cloud.

    Windows are of all that a cloud holds: its strip, and the border cells that it was sent for the layer. What a
    protocol does not show raises `LacksInput`, which is the default.
    """

    protocol: ClassVar[str]

    def num_pictures(self, view: RunView) -> int:
        """Pictures of the run.

        Raises:
            LacksInput: neither the settings nor the latents tell.
        """
        return view.settings.num_pictures if view.settings else len(self.latents(view)[0].values)

    def latents(self, view: RunView) -> list[SeenMap]:
        """What the U-Net read at each step: scaled latents, as the scheduler hands them to the model."""
        raise self._lacks(view, "latents")

    def predictions(self, view: RunView) -> list[SeenMap]:
        """What the U-Net predicted at each step, both guidance halves, the negative prompt's first."""
        raise self._lacks(view, "predictions")

    def text(self, view: RunView) -> SeenText:
        """What was said of the text."""
        raise self._lacks(view, "text")

    def features(self, view: RunView, path: str) -> list[SeenMap]:
        """The input of the U-Net's layer at ``path``; a map for each step and cloud."""
        raise self._lacks(view, f"features of {path}")

    def feature_paths(self, view: RunView) -> list[str]:
        """Layers of which the view holds features, in the order of computation."""
        raise self._lacks(view, "features")

    def prompts(self, view: RunView) -> tuple[tuple[str, ...], ...]:
        """For each picture, texts of which one is its prompt, where the protocol sends texts."""
        raise self._lacks(view, "texts")

    def keeps(self, what: str, kind: str, values: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Whether a message bears on ``what``: latents, predictions, text, prompts, or the path of a layer."""
        return True

    def noise(self, view: RunView) -> SeenMap:
        """The first noise, where it is told apart from the latents."""
        raise self._lacks(view, "the noise")

    def _lacks(self, view: RunView, what: str) -> LacksInput:
        return LacksInput(f"the clouds of {view.spec.name} with these settings are not shown {what}")
