"""What protocols send a cloud that runs a whole U-Net in the clear: the conditioning, once a run."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from sfumato.models.denoiser import Conditioning
from sfumato.tensors import PooledEmbedding, TokenEmbeddings
from sfumato.wire.messages import Message


@dataclass(frozen=True, kw_only=True)
class Condition(Message):
    """Client to cloud, once a run: what the U-Net is told.

    Reveals: the text embedding (the public text encoder maps it back to the prompt), the negative prompt's, and for
    SDXL the pooled text and the picture's size.
    """

    topic: ClassVar[str] = "text"

    prompt_embeds: TokenEmbeddings
    pooled: PooledEmbedding | None
    time_ids: Float[Tensor, "batch six"] | None

    @classmethod
    def of(cls, conditioning: Conditioning) -> "Condition":
        """The message that tells all of it."""
        return cls(prompt_embeds=conditioning.prompt_embeds, pooled=conditioning.pooled, time_ids=conditioning.time_ids)


@dataclass(frozen=True, kw_only=True)
class Conditioned(Message):
    """Cloud to client: the conditioning is held for this session.

    Reveals: size and timing only.
    """

    topic: ClassVar[str] = "text"
