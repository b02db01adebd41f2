"""Two protocols in one run: one holds the latents encrypted, the other denoises on further clouds."""

from collections.abc import Generator
from contextlib import closing

from torch import nn

from sfumato.client.parts import Part
from sfumato.models.folder import ModelFolder
from sfumato.models.sampling import Sampling, Step, sample
from sfumato.models.weights import Wanted
from sfumato.protocols.client_half import ClientHalf, Generation, OnStep, Remarks, StepwiseClient, UnetWork
from sfumato.protocols.homomorphic.sealed_client import SealedClient
from sfumato.tensors import Latent
from sfumato.transport.base import Channel


class ComposedClient(ClientHalf):
    """The client halves of both protocols, which know nothing of each other; each talks to its own clouds only.

    Run by: client.
    Reveals: to each cloud what its own protocol does, and to all when a step begins and ends.

    Args:
        custodian: has the latents held.
        denoising: supplies the denoiser.
        parts: whose clouds are whose, in this order.
    """

    def __init__(self, custodian: SealedClient, denoising: StepwiseClient, parts: tuple[Part, Part]):
        self._custodian = custodian
        self._denoising = denoising
        self._parts = parts
        self._custodian_name = ""

    def keeps(self, unet: nn.Module) -> Wanted:
        """What the denoising protocol leaves here."""
        return self._denoising.keeps(unet)

    def check(self, unet: nn.Module, latent_shape: tuple[int, ...], num_rows: int) -> None:
        """Refuses what either cannot run."""
        self._custodian.check(unet, latent_shape, num_rows)
        self._denoising.check(unet, latent_shape, num_rows)

    def prepare(self, generation: Generation) -> None:
        """Makes both ready."""
        self._custodian.prepare(generation)
        self._denoising.prepare(generation)

    def generate(self, unet: nn.Module, channel: Channel, generation: Generation, on_step: OnStep) -> Latent:
        """Denoises on some clouds, while another follows encrypted; returns the client's own latents."""
        custody, denoising = (part.channel(channel) for part in self._parts)
        (self._custodian_name,) = custody.clouds
        with closing(self._steps(unet, denoising, generation.sampling, on_step)) as steps:
            return self._custodian.follow(steps, custody, generation.sampling)

    def _steps(self, unet: nn.Module, channel: Channel, sampling: Sampling, on_step: OnStep) -> Generator[Step]:
        """The sampler's steps; the sessions end with the last, before any cloud is asked for ciphertexts."""
        with self._denoising.denoiser(unet, channel) as denoiser:
            yield from sample(denoiser, sampling, on_step)
        channel.close()

    def unet_work(self, unet: nn.Module, model: ModelFolder, sampling: Sampling) -> UnetWork:
        """That of the denoising protocol; ciphertexts are no work of the U-Net."""
        return self._denoising.unet_work(unet, model, sampling)

    def remarks(self) -> Remarks:
        """Those of both; what was encrypted is said of the one cloud that it is true of."""
        held, denoised = self._custodian.remarks(), self._denoising.remarks()
        encryption = held.fields["encryption"] | {"cloud": self._custodian_name}
        return Remarks(
            fields={**held.fields, **denoised.fields, "encryption": encryption},
            not_hidden=(*held.not_hidden, *denoised.not_hidden),
        )
