"""All that is public about ``plain``: its settings and its messages (``readable.py`` has the conditioning's)."""

from dataclasses import dataclass
from typing import ClassVar

from sfumato.protocols.base import Spec, setting
from sfumato.tensors import GuidedPrediction, Latent
from sfumato.wire.dtypes import WireDtype
from sfumato.wire.messages import Message


@dataclass(frozen=True, kw_only=True)
class Plain(Spec):
    """The baseline: one cloud runs the whole U-Net and sees everything."""

    name: ClassVar[str] = "plain"

    wire_dtype: WireDtype = setting("fp32", "number format of latents and predictions on the wire")

    def problems(self) -> list[str]:
        """One cloud, and a known number format."""
        found = super().problems()
        if not found and self.num_clouds > 1:
            found.append(f"num_clouds must be 1, got {self.num_clouds}: plain has one cloud")
        return found

    @property
    def claim(self) -> str:
        """Nothing."""
        return "Hides nothing from the cloud; TLS hides the run from the network."

    def seen_by(self, cloud_index: int) -> str:  # noqa: ARG002
        """Everything."""
        return "the whole latent, the text embedding"

    @property
    def not_hidden(self) -> tuple[str, ...]:
        """Everything the cloud computes on."""
        return (
            "The cloud reads the text embedding, and with it the prompt.",
            "The cloud reads the latent at every step, and with it the picture.",
        )


@dataclass(frozen=True, kw_only=True)
class Noisy(Message):
    """Client to cloud, once a step: the whole latent.

    Reveals: the latent and the timestep; from the last ones, the picture.
    """

    topic: ClassVar[str] = "unet"

    latent: Latent
    timestep: float


@dataclass(frozen=True, kw_only=True)
class Prediction(Message):
    """Cloud to client: the U-Net's output for the last latent.

    Reveals: to the client, nothing it could not compute.
    """

    topic: ClassVar[str] = "unet"

    prediction: GuidedPrediction
