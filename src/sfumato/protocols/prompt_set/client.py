"""The client half of ``prompt-set``: make the set, send it, take one's own latent and finish."""

from dataclasses import replace
from functools import lru_cache, partial
from math import isclose

import torch
from torch import nn

from sfumato.errors import WireError
from sfumato.models.counting import unet_layers
from sfumato.models.denoiser import predict
from sfumato.models.entry import Entry, PreviousOutput
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import everything, meta_unet
from sfumato.models.sampling import Sampling, sample
from sfumato.models.weights import Wanted
from sfumato.protocols.client_half import ClientHalf, Generation, OnStep, Private, Remarks, UnetWork
from sfumato.protocols.prompt_set.acceleration import Acceleration
from sfumato.protocols.prompt_set.candidates import CandidateSet, candidate_set, load_taxonomy
from sfumato.protocols.prompt_set.candidates.preview import preview_json, verdict
from sfumato.protocols.prompt_set.candidates.prior import posterior
from sfumato.protocols.prompt_set.handoff import Handoff
from sfumato.protocols.prompt_set.pairing import Pairing, pairing_of
from sfumato.protocols.prompt_set.server_flops import server_flops
from sfumato.protocols.prompt_set.spec import CandidateLatents, Candidates, PromptSet
from sfumato.protocols.replies import checked
from sfumato.tensors import Latent
from sfumato.transport.base import Channel
from sfumato.wire.dtypes import WIRE_DTYPES


class PromptSetClient(ClientHalf):
    """Sends every candidate, keeps one, and finishes it with the device model; which one is never said.

    Run by: client.
    Reveals: see :class:`~sfumato.protocols.prompt_set.spec.PromptSet`.
    """

    def __init__(self, spec: PromptSet, private: Private):
        self._spec = spec
        self._server = private.model
        self._device = private.device_model or private.model
        self._taxonomy = load_taxonomy(private.taxonomy) if private.taxonomy else None
        self._detectors = private.detectors
        self._dtype = WIRE_DTYPES[spec.wire_dtype]
        self._sets: list[CandidateSet] = []
        self._pairing: Pairing | None = None

    def keeps(self, unet: nn.Module) -> Wanted:  # noqa: ARG002
        """The device model whole."""
        return everything

    def check(self, unet: nn.Module, latent_shape: tuple[int, ...], num_rows: int) -> None:
        """Any device model and size; whether the two models fit is looked at in :meth:`prepare`."""

    def prepare(self, generation: Generation) -> None:
        """Makes the sets, and finds out where the device model will take over.

        Raises:
            ValueError: a prompt of which no set can be made, models that do not fit together, or no steps left.
        """
        self._sets = [
            candidate_set(
                prompt,
                taxonomy=self._taxonomy,
                max_candidates=self._spec.max_candidates,
                on_no_attribute=self._spec.on_no_attribute,
                detectors=self._detectors,
            )
            for prompt in generation.prompts
        ]
        self._pairing = pairing_of(
            self._spec,
            self._server,
            self._device,
            scheduler=generation.scheduler,
            num_inference_steps=generation.sampling.num_inference_steps,
            latent_size=(generation.sampling.noise.shape[2], generation.sampling.noise.shape[3]),
        )

    @property
    def _paired(self) -> Pairing:
        assert self._pairing is not None
        return self._pairing

    @torch.no_grad()
    def generate(self, unet: nn.Module, channel: Channel, generation: Generation, on_step: OnStep) -> Latent:
        """Asks once for each picture, and finishes all of them together."""
        sampling, repeats = generation.sampling, generation.num_images_per_prompt
        own = [
            self._ask(channel, generation, number, self._sets[number // repeats])
            for number in range(len(sampling.noise))
        ]
        joined = _joined(own)
        latents, entry = joined.latents, Entry(step=self._paired.first_step, previous=joined.previous)
        finishing = replace(sampling, noise=latents, entry=entry)
        for step in sample(partial(predict, unet), finishing, on_step):
            latents = step.latents
        return latents

    def _ask(self, channel: Channel, generation: Generation, number: int, own: CandidateSet) -> Handoff:
        """One exchange; returns the client's own rows."""
        sampling, given = generation.sampling, generation.sampling.generator
        negatives = generation.negative_prompts
        generator = given[number] if isinstance(given, list) else given
        request = Candidates(
            prompts=own.prompts,
            negative="" if negatives is None else negatives[number // generation.num_images_per_prompt],
            has_negative=negatives is not None,
            is_guided=sampling.conditioning.batch == 2 * len(sampling.noise),
            guidance_scale=float(sampling.guidance_scale),
            scheduler=self._paired.scheduler,
            num_inference_steps=self._paired.num_inference_steps,
            height=generation.height,
            width=generation.width,
            seed=int(torch.randint(2**62, (), generator=generator)),
            noise=sampling.noise[number : number + 1].to(self._dtype),
        )
        (reply,) = channel.exchange([request], CandidateLatents)
        return self._checked(channel, reply, len(own.prompts), sampling.noise).only(own.index)

    def _checked(self, channel: Channel, reply: CandidateLatents, num: int, noise: Latent) -> Handoff:
        """The reply, if it is what was asked for."""
        (cloud,), shape = channel.clouds, (num, *noise.shape[1:])
        pairing = self._paired
        ships = self._spec.handoff == "ship-history"
        if (reply.previous is not None) != ships:
            raise WireError(
                f"{cloud} shipped {'no' if ships else 'a'} previous output with handoff={self._spec.handoff}"
            )
        tensors = [reply.latents] if reply.previous is None else [reply.latents, reply.previous]
        latents, *previous = [
            checked(channel, [tensor], [shape], self._dtype, "the candidates' latents")[0].to(noise.dtype)
            for tensor in tensors
        ]
        got = Handoff(
            latents=latents,
            timestep=reply.timestep,
            sigma=reply.sigma,
            prediction_type=reply.prediction_type,
            schedule_hash=reply.schedule_hash,
            scaling_factor=reply.scaling_factor,
            previous=PreviousOutput(clean=previous[0], sigma=reply.previous_sigma) if previous else None,
        )
        is_next = not ships or isclose(reply.previous_sigma, pairing.previous_sigma, rel_tol=1e-5)
        if not (is_next and got.stands_where(pairing.expected)):
            raise WireError(
                f"{cloud} answered with latents of another noise level or schedule than was asked for: "
                "it runs other code or another model"
            )
        return got

    def unet_work(self, unet: nn.Module, model: ModelFolder, sampling: Sampling) -> UnetWork:  # noqa: ARG002
        """The device model's steps here, the server's there."""
        conditioning, shape = sampling.conditioning, tuple(sampling.noise.shape)
        num_tokens = conditioning.prompt_embeds.shape[1]
        per_step = sum(layer.flops for layer in unet_layers(model, shape, conditioning.batch, num_tokens))
        num_steps = len(sampling.scheduler.timesteps) - self._paired.first_step
        repeats, is_guided = shape[0] // len(self._sets), conditioning.batch == 2 * shape[0]
        clouds = sum(
            _server_flops(self._server, self._spec.acceleration, len(own.prompts), shape[2:], num_tokens, is_guided)
            for own in self._sets
        )
        weights = sum(p.numel() for p in meta_unet(self._server).parameters())
        return UnetWork(per_step * num_steps, clouds * repeats, weights * conditioning.prompt_embeds.element_size())

    def remarks(self) -> Remarks:
        """The preview of each prompt."""
        previews = [(own, posterior(own.prompts)) for own in self._sets]
        return Remarks(
            fields={
                "device_model": self._device.name,
                "candidate_sets": [preview_json(own, probabilities) for own, probabilities in previews],
            },
            not_hidden=tuple(verdict(own, probabilities) for own, probabilities in previews),
        )


@lru_cache(maxsize=64)
def _server_flops(
    server: ModelFolder,
    acceleration: Acceleration,
    num_candidates: int,
    latent_size: tuple[int, int],
    num_tokens: int,
    is_guided: bool,
) -> int:
    """All of the server's steps for one picture."""
    steps = server_flops(
        meta_unet(server),
        acceleration,
        num_candidates=num_candidates,
        latent_size=latent_size,
        num_tokens=num_tokens,
        is_guided=is_guided,
    )
    return sum(step.total for step in steps)


def _joined(handoffs: list[Handoff]) -> Handoff:
    """Rows of several hand-offs from one place in the schedule."""
    first = handoffs[0]
    previous = first.previous and replace(
        first.previous, clean=torch.cat([h.previous.clean for h in handoffs if h.previous])
    )
    return replace(first, latents=torch.cat([h.latents for h in handoffs]), previous=previous)
