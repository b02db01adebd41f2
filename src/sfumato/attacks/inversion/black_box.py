"""The black-box attack and its baselines: what a picture is made through, and what words add."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.attacks.inversion.inversion_network_attack import NO_WORDS, InversionNetworkAttack
from sfumato.attacks.inversion.latent_chain import latent_shape, load_chain, load_frozen_decoder, normalised
from sfumato.attacks.inversion.method import setting
from sfumato.attacks.inversion.negentropy import TextTerm, text_term
from sfumato.attacks.inversion.picture_makers import PictureMaker, Straight, ThroughChain, ThroughDecoder
from sfumato.attacks.inversion.texts import PriorTexts
from sfumato.attacks.inversion.view import FeatureView
from sfumato.models.folder import ModelFolder


@final
@dataclass(frozen=True, kw_only=True)
class BlackBox(InversionNetworkAttack):
    """The paper's black-box DMB: the network gives the latent that the whole diffusion model makes a picture of.

    With words the questions' own words go into the model while training, and the prior while inverting.

    Source: "Unlocking Visual Secrets", Eq. 11; with words Eq. 12; for clips Eq. 13 and Figure 9.
    """

    name: ClassVar[str] = "black-box"

    sampling_steps: int = setting(20, "DDIM steps from latent to picture, while training and after")
    text_weight: float = setting(3.0, "of the text term, lambda_txt; counts only with words")
    text_alpha: float = setting(1.0, "of the text term, in [1, 2]")
    text_term: TextTerm = setting("published", "Eq. 8 as printed, or the negentropy that it is named after")
    memory_gib: float = setting(
        0.0, "for activations, the rest is recomputed; 0: half of what is free", names_task=False
    )

    def maker(self, view: FeatureView) -> PictureMaker:
        """The chain of a few or many steps."""
        return _through_chain(view.model, view.picture_size, self.sampling_steps, self.memory_gib, view.device)

    def word_losses(self, outputs: Tensor, texts: Sequence[str]) -> Float[Tensor, " batch"] | float:
        """Eq. 12's last term."""
        if not any(texts):
            return 0.0
        return self.text_weight * text_term(normalised(outputs), self.text_alpha, self.text_term)

    def priors(self, view: FeatureView) -> tuple[str, ...]:
        """The view's."""
        return view.priors or (NO_WORDS,)


@final
@dataclass(frozen=True, kw_only=True)
class BlackBoxDecoder(InversionNetworkAttack):
    """The paper's black-box baseline DB: the network gives the latent that the decoder makes a picture of.

    Source: "Unlocking Visual Secrets", Section 7.1 and Figure 18 (b).
    """

    name: ClassVar[str] = "black-box-decoder"

    def maker(self, view: FeatureView) -> PictureMaker:
        """The decoder."""
        return _through_decoder(view.model, view.picture_size, view.device)

    def word_losses(self, outputs: Tensor, texts: Sequence[str]) -> Float[Tensor, " batch"] | float:  # noqa: ARG002
        """Nothing."""
        return 0.0

    def priors(self, view: FeatureView) -> tuple[str, ...]:  # noqa: ARG002
        """A decoder takes no words."""
        return (NO_WORDS,)


@final
@dataclass(frozen=True, kw_only=True)
class BlackBoxDirect(InversionNetworkAttack):
    """The paper's black-box baseline DO: the network gives the picture itself.

    Source: "Unlocking Visual Secrets", Section 7.1 and Figure 18 (a), after He et al. 2019 (ACSAC).
    """

    name: ClassVar[str] = "black-box-direct"

    def maker(self, view: FeatureView) -> PictureMaker:
        """None is needed."""
        return Straight(shape=(3, *view.picture_size))

    def word_losses(self, outputs: Tensor, texts: Sequence[str]) -> Float[Tensor, " batch"] | float:  # noqa: ARG002
        """Nothing."""
        return 0.0

    def priors(self, view: FeatureView) -> tuple[str, ...]:  # noqa: ARG002
        """No model is there that takes words."""
        return (NO_WORDS,)


@lru_cache(maxsize=2)
def _through_chain(
    model: ModelFolder, size: tuple[int, int], sampling_steps: int, memory_gib: float, device: torch.device
) -> PictureMaker:
    chain = load_chain(model, sampling_steps=sampling_steps, memory_gib=memory_gib, device=device)
    return ThroughChain(shape=latent_shape(model, size), chain=chain, words=PriorTexts(model, size, guided=False))


@lru_cache(maxsize=2)
def _through_decoder(model: ModelFolder, size: tuple[int, int], device: torch.device) -> PictureMaker:
    return ThroughDecoder(shape=latent_shape(model, size), decoder=load_frozen_decoder(model, device))
