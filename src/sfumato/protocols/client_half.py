"""The client's side of a protocol: the outer seam, one whole generation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from sfumato.models.counting import unet_layers
from sfumato.models.denoiser import Denoiser
from sfumato.models.folder import ModelFolder
from sfumato.models.layers import Layer
from sfumato.models.sampling import Sampling, Step, sample
from sfumato.models.weights import Wanted
from sfumato.tensors import Latent
from sfumato.transport.base import Channel


class Shares(NamedTuple):
    """Who computes how much of one layer's FLOPs in one step; both may compute all of them."""

    client: float
    clouds: float
    """All clouds together, without what is computed twice at the borders of strips."""
    is_once: bool = False
    """Whether the client computes its share at the first step only, and keeps the result."""


BY_CLIENT, BY_CLOUDS = Shares(1.0, 0.0), Shares(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Private:
    """What the user gave besides the spec; no cloud is told, and few client halves need it."""

    model: ModelFolder
    """That the clouds serve."""
    device_model: ModelFolder | None = None
    """The client's own small model, for protocols that finish a picture with one."""
    taxonomy: Path | None = None
    """File with attributes to hide, for protocols that hide words."""
    detectors: Sequence[Any] = ()
    """That find attributes besides the rules."""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One call of the pipeline; it stays on the client."""

    sampling: Sampling
    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...] | None
    """One for each prompt."""
    num_images_per_prompt: int
    scheduler: str
    height: int
    width: int


class UnetWork(NamedTuple):
    """What a U-Net, or two, cost in one run."""

    client_flops: int
    cloud_flops: int
    """All clouds together."""
    cloud_weight_bytes: int
    """Weights that one cloud needs and the client does not load."""


@dataclass(frozen=True, kw_only=True)
class Remarks:
    """What a run's report says beyond the spec."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    """JSON values by the names under which the report has them."""
    not_hidden: tuple[str, ...] = ()
    """What a cloud learned in this run, a sentence each."""


class ClientHalf(ABC):
    """The client's side of one protocol."""

    @abstractmethod
    def keeps(self, unet: nn.Module) -> Wanted:
        """Says which parameters of a U-Net (given on the meta device) the client needs; others are not loaded."""

    @abstractmethod
    def check(self, unet: nn.Module, latent_shape: tuple[int, ...], num_rows: int) -> None:
        """Refuses what this protocol cannot run, before any cloud is contacted.

        Run by: client.

        Args:
            unet: the client's.
            latent_shape: batch first.
            num_rows: of the U-Net's batch: twice the latent's under guidance.

        Raises:
            Unsupported: the model does not fit the protocol.
            ValueError: the spec does not fit the picture's size.
        """

    def prepare(self, generation: Generation) -> None:  # noqa: ARG002
        """Refuses a call that this protocol cannot run, and makes ready what it sends; no cloud is contacted yet.

        Run by: client.

        Raises:
            ValueError: the call does not fit the spec.
        """
        return

    @abstractmethod
    def generate(self, unet: nn.Module, channel: Channel, generation: Generation, on_step: "OnStep") -> Latent:
        """Runs one generation that was prepared, and returns the final latent.

        Run by: client.
        """

    @abstractmethod
    def unet_work(self, unet: nn.Module, model: ModelFolder, sampling: Sampling) -> UnetWork:
        """Counts what the U-Net cost in the generation that has ended.

        Args:
            unet: the client's, with what it did not load on the meta device.
            model: of that U-Net.
            sampling: of the generation.
        """

    def remarks(self) -> Remarks:
        """What the report of the generation that has ended says beyond the spec."""
        return Remarks()


OnStep = Callable[[Step], Latent | None]
"""Watches a step; may return latents to go on with instead."""


class StepwiseClient(ClientHalf):
    """A protocol whose clouds take part in every denoising step: it only supplies a denoiser."""

    @abstractmethod
    def shares(self, unet: nn.Module, repeats: int) -> Callable[[Layer], Shares]:
        """Says who computes each layer of the U-Net.

        Args:
            unet: may be on the meta device.
            repeats: guidance halves in a step, 1 or 2; layers are counted with both.
        """

    @abstractmethod
    def denoiser(self, unet: nn.Module, channel: Channel) -> AbstractContextManager[Denoiser]:
        """Gives a denoiser that lives, in part, at the clouds.

        Run by: client.
        """

    def generate(self, unet: nn.Module, channel: Channel, generation: Generation, on_step: OnStep) -> Latent:
        """Denoises with the shared sampler."""
        latents = generation.sampling.noise
        with self.denoiser(unet, channel) as denoiser:
            for step in sample(denoiser, generation.sampling, on_step):
                latents = step.latents
        return latents

    def unet_work(self, unet: nn.Module, model: ModelFolder, sampling: Sampling) -> UnetWork:
        """Adds up the layers on each side."""
        conditioning, shape = sampling.conditioning, tuple(sampling.noise.shape)
        num_calls = len(sampling.scheduler.timesteps)
        shares_of = self.shares(unet, conditioning.batch // shape[0])
        client = clouds = 0
        for layer in unet_layers(model, shape, conditioning.batch, conditioning.prompt_embeds.shape[1]):
            shares = shares_of(layer)
            client += round(layer.flops * shares.client) * (1 if shares.is_once else num_calls)
            clouds += round(layer.flops * shares.clouds) * num_calls
        absent = sum(p.numel() for p in unet.parameters() if p.is_meta)
        return UnetWork(client, clouds, absent * conditioning.prompt_embeds.element_size())
