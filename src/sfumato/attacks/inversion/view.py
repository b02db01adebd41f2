"""What an inversion attack is given, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sfumato.attacks.inversion.queries import Queries
from sfumato.errors import LacksInput
from sfumato.models.folder import ModelFolder

Pictures = Float[Tensor, "batch 3 picture_height picture_width"]
"""Red-green-blue pictures with values in 0..1."""
Features = tuple[Tensor, ...]
"""The tensors that cross a cut; the first axis of each counts pictures, or a multiple of them."""
FirstPart = Callable[[Tensor], Features]
"""The paper's F1, preprocessing included: pictures with values in 0..1 to features, with a gradient."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Public names of the network that was cut, and of the layer after which it was."""

    target: str
    layer: str


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """All that an attack on one cut is given; the pictures behind the features are in no field.

    Reveals: the features as the cloud receives them, and what is public: the cut, F1 itself (white box) or its answers
        to a counted number of questions (black box), and a diffusion model.
    """

    features: Features
    num_pictures: int
    cut: Cut
    first: FirstPart | Queries
    model: ModelFolder
    """The public diffusion model whose pictures the attacker takes for likely."""
    picture_size: tuple[int, int]
    """Height and width in pixels."""
    priors: tuple[str, ...] = ()
    """What the attacker may know in words; several are tried, and an empty text stands for no words."""
    num_frames: int = 1
    """Pictures in a row that are one clip."""

    def __post_init__(self) -> None:
        if self.num_pictures < 1 or not self.features:
            raise ValueError("a view needs the features of at least one picture: give the tensors that cross the cut")
        shapes = [tuple(part.shape) for part in self.features]
        if any(not shape or shape[0] == 0 or shape[0] % self.num_pictures for shape in shapes):
            raise ValueError(
                f"features of {self.num_pictures} pictures must have that many rows, got shapes {shapes}; "
                "put the pictures on the first axis"
            )
        if self.num_frames < 1 or self.num_pictures % self.num_frames:
            raise ValueError(
                f"{self.num_pictures} pictures are no whole number of clips of {self.num_frames}: "
                "give as many pictures as the clips have frames together"
            )

    @property
    def device(self) -> torch.device:
        """Where the features lie, and where the attack computes."""
        return self.features[0].device

    def white_box(self) -> FirstPart:
        """F1 itself.

        Raises:
            LacksInput: this attacker may only ask questions.
        """
        if isinstance(self.first, Queries):
            raise LacksInput("this attack needs the network before the cut itself: give a white-box view")
        return self.first

    def some(self, rows: Int[Tensor, " batch"]) -> "FeatureView":
        """The view of some of the pictures, whole clips only."""
        parts = tuple(part.unflatten(0, (self.num_pictures, -1))[rows].flatten(0, 1) for part in self.features)
        return replace(self, features=parts, num_pictures=len(rows))


@dataclass(frozen=True, kw_only=True)
class Guess:
    """What an attack made of a view."""

    pictures: Pictures
    """On the CPU, in the order of the view; the harness clips them to 0..1."""
    losses: Float[Tensor, "iteration batch"] | None = None
    """The attack's own loss; nan where a picture was finished before."""
    texts: tuple[str, ...] | None = None
    """The prior that was chosen for each picture."""
    seconds: float = 0.0
    """Of computing, over all runs that it took."""
    peak_bytes: int = 0
    """Most memory held: on an accelerator by tensors, otherwise by the whole process."""
    finished: bool = True
    """False where it was interrupted; the pictures are then the best so far."""
