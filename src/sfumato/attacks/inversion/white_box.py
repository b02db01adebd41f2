"""The white-box attack: the latent of a public diffusion model is moved until its picture has the observed features."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sfumato.attacks.draws import noise
from sfumato.attacks.inversion.descent import Descent, Found, Pace
from sfumato.attacks.inversion.latent_chain import LatentChain, latent_shape, load_chain, normalised
from sfumato.attacks.inversion.losses import FeatureNorm, feature_distance, total_variation
from sfumato.attacks.inversion.method import InversionMethod, setting
from sfumato.attacks.inversion.multi_frame import frame_spread
from sfumato.attacks.inversion.negentropy import TextTerm, text_term
from sfumato.attacks.inversion.texts import PriorTexts
from sfumato.attacks.inversion.view import FeatureView, Guess, Pictures
from sfumato.attacks.inversion.watch import Watch
from sfumato.models.folder import ModelFolder
from sfumato.tensors import Latent

PictureLosses = Float[Tensor, " batch"]

_NO_WORDS = ""


@dataclass(frozen=True, kw_only=True)
class WhiteBox(InversionMethod):
    """The paper's attack DMB with its settings as defaults, for single pictures and for clips.

    Source: "Unlocking Visual Secrets", Algorithm 1 and Eq. 6; with words Eq. 9; for clips Algorithm 2 and Eq. 10.
    """

    name: ClassVar[str] = "white-box"

    iterations: int = setting(1500, "steps of Adam", names_task=False)
    learning_rate: float = setting(0.1, "of Adam")
    sampling_steps: int = setting(20, "DDIM steps from latent to picture")
    clip_sampling_steps: int = setting(10, "the same for clips of several frames")
    guidance_scale: float = setting(1.0, "how strongly words count in sampling; 1 turns guidance off")
    tv_weight: float = setting(1.0, "of total variation, lambda_s")
    text_weight: float = setting(10.0, "of the text term, lambda_txt; counts only with words")
    text_alpha: float = setting(1.0, "of the text term, in [1, 2]")
    text_term: TextTerm = setting("published", "Eq. 8 as printed, or the negentropy that it is named after")
    frame_weight: float = setting(5.0, "of the distance of a frame's latent to its clip's mean, lambda_c")
    feature_norm: FeatureNorm = setting(
        "sum", "feature loss as a sum over values, their mean, or relative to the features' own"
    )
    trial_iterations: int = setting(100, "steps of Adam for each of several priors before the best goes on")
    patience: int = setting(0, "iterations without a gain after which a picture is finished; 0 never", names_task=False)
    min_gain: float = setting(0.001, "share by which a loss must fall to count as a gain", names_task=False)
    memory_gib: float = setting(
        0.0, "for activations, the rest is recomputed; 0: half of what is free", names_task=False
    )

    def guess(self, view: FeatureView, first: int, stage: str, watch: Watch) -> Guess:
        """Finds the words that fit best where there are several, then the latents."""
        priors = view.priors or (_NO_WORDS,)
        if len(priors) == 1:
            texts = [priors[0]] * view.num_pictures
            return self._descend(view, first, texts, self.iterations, watch, stage).guess(texts)
        trials: list[Found] = []
        for place, text in enumerate(priors, start=1):
            words = [text] * view.num_pictures
            trials.append(self._descend(view, first, words, self.trial_iterations, watch, f"{stage}-prior-{place}"))
            if not trials[-1].finished:
                return trials[-1].guess(words)
        chosen = best_trials([trial.best for trial in trials], view.num_frames)
        texts = [priors[place] for place in chosen]
        return self._descend(view, first, texts, self.iterations, watch, stage).guess(texts)

    @torch.no_grad()
    def prior_only(self, view: FeatureView, draw: int) -> Pictures:
        """Pictures that the model makes from the same words and other noise; several priors take turns."""
        text = view.priors[draw % len(view.priors)] if view.priors else _NO_WORDS
        places = [f"prior only {draw} {index // view.num_frames}" for index in range(view.num_pictures)]
        latents = noise(latent_shape(view.model, view.picture_size), places, self.seed).to(view.device)
        chain, texts = self.chain(view), self._texts(view)
        parts = [
            chain(normalised(part), texts.conditioning([text] * len(part), view.device))
            for part in latents.split(self.batch_size)
        ]
        return torch.cat(parts).cpu()

    def chain(self, view: FeatureView) -> LatentChain:
        """The chain that is optimised through."""
        steps = self.sampling_steps if view.num_frames == 1 else self.clip_sampling_steps
        return _chain(view.model, steps, self.guidance_scale, self.memory_gib, view.device)

    def losses(self, view: FeatureView, latents: Latent, pictures: Pictures, texts: Sequence[str]) -> PictureLosses:
        """One loss a picture, of latents before normalisation and the pictures they make."""
        found = view.white_box()(pictures)
        losses = feature_distance(found, view.features, view.num_pictures, self.feature_norm)
        losses = losses + self.tv_weight * total_variation(pictures)
        if any(texts):
            worded = torch.tensor([bool(text) for text in texts], device=view.device)
            losses = losses + self.text_weight * worded * text_term(
                normalised(latents), self.text_alpha, self.text_term
            )
        if view.num_frames > 1:
            losses = losses + self.frame_weight * frame_spread(latents, view.num_frames)
        return losses

    def _descend(
        self, view: FeatureView, first: int, texts: Sequence[str], iterations: int, watch: Watch, stage: str
    ) -> Found:
        chain, words = self.chain(view), self._texts(view)

        def objective(latents: Latent, rows: Int[Tensor, " batch"]) -> tuple[Pictures, PictureLosses]:
            said = [texts[int(row)] for row in rows]
            pictures = chain(normalised(latents), words.conditioning(said, view.device))
            return pictures, self.losses(view.some(rows), latents, pictures, said)

        # Frames of a clip start from one noise.
        places = [f"start {(first + index) // view.num_frames}" for index in range(view.num_pictures)]
        start = noise(latent_shape(view.model, view.picture_size), places, self.seed).to(view.device)
        pace = Pace(
            iterations=iterations, learning_rate=self.learning_rate, patience=self.patience, min_gain=self.min_gain
        )
        return Descent(start, pace, num_frames=view.num_frames).run(objective, watch, stage)

    def _texts(self, view: FeatureView) -> PriorTexts:
        return _prior_texts(view.model, view.picture_size, self.guidance_scale != 1.0)


def best_trials(losses: Sequence[PictureLosses], num_frames: int) -> list[int]:
    """For each picture the place of the trial that ended lowest, one for all frames of a clip.

    Args:
        losses: one row of pictures a trial.
        num_frames: of each clip.
    """
    clips = torch.stack(list(losses)).unflatten(1, (-1, num_frames)).sum(2)
    return [int(place) for place in clips.argmin(0).repeat_interleave(num_frames)]


@lru_cache(maxsize=2)
def _chain(
    model: ModelFolder, sampling_steps: int, guidance_scale: float, memory_gib: float, device: torch.device
) -> LatentChain:
    return load_chain(
        model,
        sampling_steps=sampling_steps,
        guidance_scale=guidance_scale,
        memory_gib=memory_gib,
        device=device,
    )


@lru_cache(maxsize=2)
def _prior_texts(model: ModelFolder, picture_size: tuple[int, int], guided: bool) -> PriorTexts:
    return PriorTexts(model, picture_size, guided=guided)
