"""The client half of ``plain``: send the latent, take the prediction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from sfumato.models.denoiser import Conditioning, Denoiser
from sfumato.models.layers import Layer
from sfumato.models.loading import nothing
from sfumato.models.weights import Wanted
from sfumato.protocols.client_half import BY_CLOUDS, Shares, StepwiseClient
from sfumato.protocols.plain.spec import Noisy, Plain, Prediction
from sfumato.protocols.readable import Condition, Conditioned
from sfumato.protocols.replies import checked
from sfumato.tensors import GuidedPrediction, Latent
from sfumato.transport.base import Channel
from sfumato.wire.dtypes import WIRE_DTYPES


class PlainClient(StepwiseClient):
    """Asks one cloud for every prediction.

    Run by: client.
    Reveals: everything; see :class:`~sfumato.protocols.plain.spec.Plain`.
    """

    def __init__(self, spec: Plain):
        self._dtype = WIRE_DTYPES[spec.wire_dtype]

    def shares(self, unet: nn.Module, repeats: int) -> Callable[[Layer], Shares]:  # noqa: ARG002
        """All of them at the cloud."""
        return lambda _: BY_CLOUDS

    def keeps(self, unet: nn.Module) -> Wanted:  # noqa: ARG002
        """No U-Net weight stays on the client."""
        return nothing

    def check(self, unet: nn.Module, latent_shape: tuple[int, ...], num_rows: int) -> None:
        """Any model and size."""

    @contextmanager
    def denoiser(self, unet: nn.Module, channel: Channel) -> Iterator[Denoiser]:
        """Gives a denoiser that lives at the cloud, which is told the conditioning once."""
        config: Any = unet.config
        told: Conditioning | None = None

        def remote(latent: Latent, timestep: Tensor, conditioning: Conditioning) -> GuidedPrediction:
            nonlocal told
            if told is not conditioning:
                channel.exchange([Condition.of(conditioning)], Conditioned)
                told = conditioning
            request = Noisy(latent=latent.to(self._dtype), timestep=float(timestep))
            (reply,) = channel.exchange([request], Prediction)
            shape = (conditioning.batch, config["out_channels"], *latent.shape[2:])
            (prediction,) = checked(channel, [reply.prediction], [shape], self._dtype, "a latent")
            return prediction.to(latent.dtype)

        yield remote
