"""From what an inversion network gives to a picture: through a whole diffusion model, its decoder, or straight."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from sfumato.attacks.inversion.latent_chain import LatentChain, normalised
from sfumato.attacks.inversion.texts import PriorTexts
from sfumato.attacks.inversion.view import Pictures
from sfumato.models.decoding import decoded


@dataclass(frozen=True, kw_only=True)
class PictureMaker(ABC):
    """Differentiable, with nothing in it that is trained."""

    shape: tuple[int, int, int]
    """Of what it makes one picture from."""

    @abstractmethod
    def __call__(self, outputs: Tensor, texts: Sequence[str]) -> Pictures:
        """Pictures with values in 0..1.

        Args:
            outputs: of the network.
            texts: words for each, empty for none; not all makers use them.
        """


@final
@dataclass(frozen=True, kw_only=True)
class ThroughChain(PictureMaker):
    """The paper's D(v, e) of the normalised output."""

    chain: LatentChain
    words: PriorTexts

    def __call__(self, outputs: Tensor, texts: Sequence[str]) -> Pictures:
        """Words count."""
        return self.chain(normalised(outputs), self.words.conditioning(texts, outputs.device))


@final
@dataclass(frozen=True, kw_only=True)
class ThroughDecoder(PictureMaker):
    """The decoder alone, which is given the output as it is."""

    decoder: nn.Module

    def __call__(self, outputs: Tensor, texts: Sequence[str]) -> Pictures:  # noqa: ARG002
        """Words do not count."""
        return decoded(self.decoder, outputs)


@final
@dataclass(frozen=True, kw_only=True)
class Straight(PictureMaker):
    """The output's logistic values are the picture."""

    def __call__(self, outputs: Tensor, texts: Sequence[str]) -> Pictures:  # noqa: ARG002
        """Words do not count."""
        return outputs.sigmoid()
