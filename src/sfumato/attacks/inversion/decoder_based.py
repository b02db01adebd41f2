"""The decoder-based attack: a latent is moved until what the decoder makes of it has the features. No diffusion."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sfumato.attacks.draws import noise
from sfumato.attacks.inversion.descent import Descent, Pace
from sfumato.attacks.inversion.latent_chain import latent_shape, load_frozen_decoder
from sfumato.attacks.inversion.losses import FeatureNorm, feature_distance, total_variation
from sfumato.attacks.inversion.method import InversionMethod, setting
from sfumato.attacks.inversion.multi_frame import frame_spread
from sfumato.attacks.inversion.view import FeatureView, Guess, Pictures
from sfumato.attacks.inversion.watch import Watch
from sfumato.models.decoding import decode, decoded
from sfumato.models.folder import ModelFolder

_MEAN_OF = 16
"""Pictures whose mean is the guess without features."""


@dataclass(frozen=True, kw_only=True)
class DecoderBased(InversionMethod):
    """The paper's baseline DB: Adam over a latent that goes through the decoder alone.

    The latent starts as noise, as in Algorithm 1, and is not normalised, for the decoder asks for no Gaussian one; the
    paper says neither, nor whether the squared distance is summed or averaged: it is averaged here, as for `direct`.
    Frames of a clip start from one noise.

    Source: "Unlocking Visual Secrets", Section 6.1 and Figure 10 (b), with the loss of Eq. 6 and, for clips, Eq. 10.
    """

    name: ClassVar[str] = "decoder"

    iterations: int = setting(1500, "steps of Adam", names_task=False)
    learning_rate: float = setting(0.1, "of Adam")
    tv_weight: float = setting(1.0, "of total variation, lambda_s")
    frame_weight: float = setting(5.0, "of the distance of a frame's latent to its clip's mean, lambda_c")
    feature_norm: FeatureNorm = setting(
        "mean", "feature loss as a sum over values, their mean, or relative to the features' own"
    )
    patience: int = setting(0, "iterations without a gain after which a picture is finished; 0 never", names_task=False)
    min_gain: float = setting(0.001, "share by which a loss must fall to count as a gain", names_task=False)

    def guess(self, view: FeatureView, first: int, stage: str, watch: Watch) -> Guess:
        """Moves the latents of one batch."""
        network, decoder = view.white_box(), _decoder(view.model, view.device)

        def objective(latents: Tensor, rows: Int[Tensor, " batch"]) -> tuple[Pictures, Float[Tensor, " batch"]]:
            pictures = decoded(decoder, latents)
            losses = feature_distance(network(pictures), view.some(rows).features, len(rows), self.feature_norm)
            losses = losses + self.tv_weight * total_variation(pictures)
            if view.num_frames > 1:
                losses = losses + self.frame_weight * frame_spread(latents, view.num_frames)
            return pictures, losses

        pace = Pace(
            iterations=self.iterations,
            learning_rate=self.learning_rate,
            patience=self.patience,
            min_gain=self.min_gain,
        )
        places = [f"start {(first + index) // view.num_frames}" for index in range(view.num_pictures)]
        start = noise(latent_shape(view.model, view.picture_size), places, self.seed).to(view.device)
        return Descent(start, pace, num_frames=view.num_frames).run(objective, watch, stage).guess()

    def prior_only(self, view: FeatureView, draw: int) -> Pictures:
        """The mean of what the decoder makes of noise, which is nearer to most pictures than any one of them."""
        places = [f"prior only {draw} {place}" for place in range(_MEAN_OF)]
        latents = noise(latent_shape(view.model, view.picture_size), places, self.seed).to(view.device)
        picture = decode(_decoder(view.model, view.device), latents).mean(0, keepdim=True).cpu()
        return picture.expand(view.num_pictures, -1, -1, -1).clone()


@lru_cache(maxsize=2)
def _decoder(model: ModelFolder, device: torch.device) -> nn.Module:
    return load_frozen_decoder(model, device)
