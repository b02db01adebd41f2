"""Direct optimisation: pixels are moved until their features are the observed ones. The baseline without a prior."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sfumato.attacks.inversion.descent import Descent, Pace
from sfumato.attacks.inversion.losses import FeatureNorm, feature_distance, total_variation
from sfumato.attacks.inversion.method import InversionMethod, setting
from sfumato.attacks.inversion.view import FeatureView, Guess, Pictures
from sfumato.attacks.inversion.watch import Watch

_GREY = 0.5


@dataclass(frozen=True, kw_only=True)
class DirectOptimisation(InversionMethod):
    """The paper's baseline DO: Adam over pixels from mid-grey, held to 0..1 after every step.

    Source: "Unlocking Visual Secrets", Eq. 4 and Figure 10 (a), after He et al. 2019 (ACSAC), with the paper's total
        variation. The paper does not say where it starts, nor whether the squared distance is summed or averaged:
        it is averaged here, because against a sum the paper's weight of 1 for total variation counts for nothing.
    """

    name: ClassVar[str] = "direct"

    iterations: int = setting(1500, "steps of Adam", names_task=False)
    learning_rate: float = setting(0.1, "of Adam")
    tv_weight: float = setting(1.0, "of total variation, lambda_s")
    feature_norm: FeatureNorm = setting(
        "mean", "feature loss as a sum over values, their mean, or relative to the features' own"
    )
    patience: int = setting(0, "iterations without a gain after which a picture is finished; 0 never", names_task=False)
    min_gain: float = setting(0.001, "share by which a loss must fall to count as a gain", names_task=False)

    def guess(self, view: FeatureView, first: int, stage: str, watch: Watch) -> Guess:  # noqa: ARG002
        """Moves the pixels of one batch."""
        network = view.white_box()

        def objective(pictures: Tensor, rows: Int[Tensor, " batch"]) -> tuple[Pictures, Float[Tensor, " batch"]]:
            losses = feature_distance(network(pictures), view.some(rows).features, len(rows), self.feature_norm)
            return pictures, losses + self.tv_weight * total_variation(pictures)

        pace = Pace(
            iterations=self.iterations,
            learning_rate=self.learning_rate,
            patience=self.patience,
            min_gain=self.min_gain,
        )
        start = self.prior_only(view, 0).to(view.device)
        found = Descent(start, pace, num_frames=view.num_frames, project=_into_range).run(objective, watch, stage)
        return found.guess()

    def prior_only(self, view: FeatureView, draw: int) -> Pictures:  # noqa: ARG002
        """The picture that it starts from: without features it has nothing else."""
        return torch.full((view.num_pictures, 3, *view.picture_size), _GREY)


def _into_range(pictures: Tensor) -> None:
    pictures.clamp_(0, 1)
