"""The client half of mode=paper: encrypt a part of each latent, have the cloud make the step, decrypt and merge."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.envelope import MOST_CIPHERTEXTS
from sfumato.crypto.seal import seal_context
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import ModelError, WireError
from sfumato.models.counting import unet_layers
from sfumato.models.denoiser import predict
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import everything, nothing
from sfumato.models.sampling import Sampling, Step, guided
from sfumato.models.weights import Wanted
from sfumato.protocols.client_half import ClientHalf, Generation, OnStep, Remarks, UnetWork
from sfumato.protocols.homomorphic.encrypting import decrypt_and_merge, encrypt_entries
from sfumato.protocols.homomorphic.exposure import Exposure
from sfumato.protocols.homomorphic.index_set import IndexSet
from sfumato.protocols.homomorphic.keys import fresh_key
from sfumato.protocols.homomorphic.messages import HybridLatent, HybridUpdated
from sfumato.protocols.homomorphic.selection import Selection, selection_of
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.homomorphic.updates import LinearUpdate, linear_updates
from sfumato.protocols.readable import Condition, Conditioned
from sfumato.protocols.replies import check, is_finite
from sfumato.protocols.serialised import as_tensor, content_of
from sfumato.tensors import Latent
from sfumato.transport.base import Channel

UPDATED_LEVEL = 1
"""Multiplications behind a latent that comes back."""


class PaperClient(ClientHalf):
    """Follows HE-Diffusion: a fresh selection and fresh ciphertexts each step, one key a run.

    Run by: client.
    Reveals: much; see :class:`~sfumato.protocols.homomorphic.spec.Homomorphic`.
    """

    def __init__(self, spec: Homomorphic):
        self._parameters = spec.ckks
        self._is_denoised_here = spec.denoiser == "client"
        self._select = selection_of(spec)
        self._updates: tuple[LinearUpdate, ...] = ()
        self._exposure: Exposure | None = None

    def keeps(self, unet: nn.Module) -> Wanted:  # noqa: ARG002
        """The U-Net whole, or nothing of it."""
        return everything if self._is_denoised_here else nothing

    def check(self, unet: nn.Module, latent_shape: tuple[int, ...], num_rows: int) -> None:  # noqa: ARG002
        """Any model; as many pictures as one vector of ciphertexts may hold.

        Raises:
            Unsupported: TenSEAL is not installed.
            ValueError: too many pictures, or too small ones for the selection.
        """
        seal_context(self._parameters)
        num = self._parameters.num_ciphertexts(prod(latent_shape))
        if num > MOST_CIPHERTEXTS:
            raise ValueError(
                f"the latents of {latent_shape[0]} pictures take {num} ciphertexts and a cloud takes "
                f"{MOST_CIPHERTEXTS}: make fewer or smaller pictures in one run"
            )
        self._select(torch.ones(latent_shape))

    def prepare(self, generation: Generation) -> None:
        """Reads the steps' coefficients off the scheduler.

        Raises:
            Unsupported: a scheduler whose steps are no linear updates.
        """
        sampling = generation.sampling
        sampling.scheduler.set_timesteps(sampling.num_inference_steps)
        self._updates = linear_updates(sampling.scheduler, sampling.num_inference_steps)

    @torch.no_grad()
    def generate(self, unet: nn.Module, channel: Channel, generation: Generation, on_step: OnStep) -> Latent:
        """Samples; the cloud makes every step of the scheduler."""
        sampling = generation.sampling
        latents = sampling.noise * sampling.scheduler.init_noise_sigma
        exposure = Exposure(self._updates, sampling.scheduler.config.prediction_type)
        if not self._is_denoised_here:
            channel.exchange([Condition.of(sampling.conditioning)], Conditioned)
        with fresh_key(self._parameters) as key:
            steps = RemoteSteps(
                channel=channel,
                key=key,
                select=self._select,
                sampling=sampling,
                updates=self._updates,
                unet=unet if self._is_denoised_here else None,
                exposure=exposure,
            )
            for index, timestep in enumerate(sampling.scheduler.timesteps):
                latents = steps.make(index, timestep, latents)
                if (replaced := on_step(Step(index=index, timestep=timestep, latents=latents))) is not None:
                    latents = replaced
        exposure.end(latents)
        self._exposure = exposure
        return latents

    def unet_work(self, unet: nn.Module, model: ModelFolder, sampling: Sampling) -> UnetWork:
        """All of it on one side."""
        conditioning, shape = sampling.conditioning, tuple(sampling.noise.shape)
        layers = unet_layers(model, shape, conditioning.batch, conditioning.prompt_embeds.shape[1])
        flops = sum(layer.flops for layer in layers) * len(sampling.scheduler.timesteps)
        if self._is_denoised_here:
            return UnetWork(flops, 0, 0)
        num_weights = sum(p.numel() for p in unet.parameters() if p.is_meta)
        return UnetWork(0, flops, num_weights * conditioning.prompt_embeds.element_size())

    def remarks(self) -> Remarks:
        """What was encrypted, what was not, and how well the result follows from the latter."""
        assert self._exposure is not None
        return Remarks(
            fields={"encryption": self._exposure.to_dict(self._parameters.name)},
            not_hidden=(self._exposure.sentence(),),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class RemoteSteps:
    """Steps that a cloud makes, on latents that it reads in part."""

    channel: Channel
    key: SecretKey
    select: Selection
    sampling: Sampling
    updates: Sequence[LinearUpdate]
    unet: nn.Module | None
    """None where the cloud denoises."""
    exposure: Exposure

    def make(self, index: int, timestep: Tensor, latents: Latent) -> Latent:
        """Gives the latents after a step.

        Raises:
            ModelError: the latents are not finite.
            WireError: the cloud returned ciphertexts of another key, number or level, or other bytes.
            WorkerError: it returned numbers that are not finite.
        """
        if not is_finite(latents):
            raise ModelError(
                f"before step {index + 1} latents are not finite: the model's weights are damaged, or a number format "
                "is too narrow for it"
            )
        update = self.updates[index]
        unet_input = latents * update.input_scale
        prediction = self._prediction(unet_input, timestep)
        hidden = self.select(latents)
        self.exposure.add(latents, hidden, prediction, self.key.parameters.num_ciphertexts(len(hidden)))
        ciphertexts, remainder = encrypt_entries(self.key, latents, hidden)
        is_here = prediction is not None
        request = HybridLatent(
            step=index,
            shape=tuple(latents.shape),
            positions=hidden.positions.int(),
            ciphertexts=as_tensor(ciphertexts),
            remainder=remainder,
            factor=update.factor,
            coefficients=update.coefficients,
            prediction=prediction,
            unet_input=None if is_here else unet_input,
            timestep=0.0 if is_here else float(timestep),
            guidance_scale=1.0 if is_here else self.sampling.guidance_scale,
        )
        (reply,) = self.channel.exchange([request], HybridUpdated)
        return self._merged(reply, hidden, remainder.dtype)

    def _prediction(self, unet_input: Latent, timestep: Tensor) -> Latent | None:
        if self.unet is None:
            return None
        conditioning = self.sampling.conditioning
        prediction = predict(self.unet, unet_input, timestep, conditioning)
        is_guided = conditioning.batch == 2 * len(unet_input)
        return guided(prediction, self.sampling.guidance_scale) if is_guided else prediction

    def _merged(self, reply: HybridUpdated, hidden: IndexSet, dtype: torch.dtype) -> Latent:
        (cloud,) = self.channel.clouds
        check(cloud, reply.remainder, (hidden.num_entries - len(hidden),), dtype, "the entries in the clear")
        num = self.key.parameters.num_ciphertexts(len(hidden))
        try:
            ciphertexts = Ciphertexts.from_bytes(
                content_of(reply.ciphertexts), self.key.parameters, num_ciphertexts=num, level=UPDATED_LEVEL
            )
            return decrypt_and_merge(self.key, ciphertexts, reply.remainder, hidden)
        except WireError as error:
            raise WireError(f"{cloud} returned no latents of this run: {error}") from error
