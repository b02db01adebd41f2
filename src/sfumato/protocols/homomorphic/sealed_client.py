"""The client half of sealed mode: run the U-Net here, and keep the latents at the cloud encrypted."""

from collections.abc import Iterable
from functools import partial
from math import prod

import torch
from torch import nn

from sfumato.crypto.ckks import Values, largest_magnitude
from sfumato.crypto.envelope import MOST_CIPHERTEXTS
from sfumato.crypto.seal import seal_context
from sfumato.errors import ModelError
from sfumato.models.counting import unet_layers
from sfumato.models.denoiser import predict
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import everything
from sfumato.models.sampling import Sampling, Step, sample
from sfumato.models.weights import Wanted
from sfumato.protocols.client_half import ClientHalf, Generation, OnStep, Remarks, UnetWork
from sfumato.protocols.homomorphic.custody import Custody
from sfumato.protocols.homomorphic.keys import fresh_key
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.homomorphic.updates import sigma_scales
from sfumato.protocols.replies import is_finite
from sfumato.tensors import Latent
from sfumato.transport.base import Channel


class SealedClient(ClientHalf):
    """Denoises here; the cloud holds the latents under a key that lives as long as the run.

    Run by: client.
    Reveals: see :class:`~sfumato.protocols.homomorphic.spec.Homomorphic`.
    """

    def __init__(self, spec: Homomorphic):
        self._parameters = spec.ckks
        self._scales: list[float] = []
        self._num_sent = 0

    def keeps(self, unet: nn.Module) -> Wanted:  # noqa: ARG002
        """The U-Net whole."""
        return everything

    def check(self, unet: nn.Module, latent_shape: tuple[int, ...], num_rows: int) -> None:  # noqa: ARG002
        """Any model; as many pictures as one vector of ciphertexts may hold.

        Raises:
            Unsupported: TenSEAL is not installed.
            ValueError: too many pictures.
        """
        seal_context(self._parameters)
        num = self._parameters.num_ciphertexts(prod(latent_shape))
        if num > MOST_CIPHERTEXTS:
            raise ValueError(
                f"the latents of {latent_shape[0]} pictures take {num} ciphertexts and a cloud holds "
                f"{MOST_CIPHERTEXTS}: make fewer or smaller pictures in one run"
            )

    def prepare(self, generation: Generation) -> None:
        """Finds the scheduler's sigma coordinates, in which the noise is largest at the start.

        Raises:
            Unsupported: it has none, or the parameters cannot hold the noise.
        """
        sampling = generation.sampling
        sampling.scheduler.set_timesteps(sampling.num_inference_steps)
        self._scales = sigma_scales(sampling.scheduler)
        self._parameters.require_headroom(largest_magnitude(self._start(sampling)))

    @torch.no_grad()
    def generate(self, unet: nn.Module, channel: Channel, generation: Generation, on_step: OnStep) -> Latent:
        """Samples here, and gives every step's change to the cloud; returns the client's own latents."""
        sampling = generation.sampling
        return self.follow(sample(partial(predict, unet), sampling, on_step), channel, sampling)

    @torch.no_grad()
    def follow(self, steps: Iterable[Step], channel: Channel, sampling: Sampling) -> Latent:
        """Gives every step's change to the cloud, wherever the U-Net runs; returns the client's own latents.

        Args:
            steps: the sampler's; they have ended when the cloud is asked for what it holds.
            channel: with the one cloud.
            sampling: what was prepared.
        """
        latents = sampling.noise
        with fresh_key(self._parameters) as key:
            custody = Custody(channel, key, self._start(sampling))
            for step in steps:
                latents = step.latents
                custody.change_to(self._in_sigma_coordinates(latents, step.index + 1))
            custody.end()
        self._num_sent = custody.num_sent
        return latents

    def _start(self, sampling: Sampling) -> Values:
        return self._in_sigma_coordinates(sampling.noise * sampling.scheduler.init_noise_sigma, 0)

    def _in_sigma_coordinates(self, latents: Latent, num_steps: int) -> Values:
        """All pictures' latents after so many steps as one vector, in fp64."""
        if not is_finite(latents):
            raise ModelError(
                f"after {num_steps} steps latents are not finite: the model's weights are damaged, or a number format "
                "is too narrow for it"
            )
        return latents.double().cpu().flatten() / self._scales[num_steps]

    def unet_work(self, unet: nn.Module, model: ModelFolder, sampling: Sampling) -> UnetWork:  # noqa: ARG002
        """All of it here."""
        conditioning, shape = sampling.conditioning, tuple(sampling.noise.shape)
        layers = unet_layers(model, shape, conditioning.batch, conditioning.prompt_embeds.shape[1])
        return UnetWork(sum(layer.flops for layer in layers) * len(sampling.scheduler.timesteps), 0, 0)

    def remarks(self) -> Remarks:
        """What was encrypted and what was not; never how far the accumulator was off, which is a decrypted value."""
        return Remarks(
            fields={
                "encryption": {
                    "parameters": self._parameters.name,
                    "ciphertexts": self._num_sent,
                    "prompt_in_clear": False,
                    "index_set_public": False,
                    "fraction_public": 0.0,
                    "predictions_public": False,
                    "unet_input_public": False,
                    "decrypted_values_returned": False,
                }
            }
        )
