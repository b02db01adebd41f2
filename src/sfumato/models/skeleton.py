"""The parts of a model on the meta device, built from configurations alone, and what can be counted on them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from sfumato.errors import ModelError, Unsupported
from sfumato.models.folder import ModelFolder
from sfumato.models.hub import quiet_diffusers
from sfumato.models.layers import counted_flops, layers_of
from sfumato.models.loading import meta_unet

TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
_TEXT_CLASSES = ("CLIPTextModel", "CLIPTextModelWithProjection")
_VAE_CLASSES = ("AutoencoderKL", "AutoencoderTiny")


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Number of parameters of a model's parts."""

    text_encoder: int
    """All text encoders together."""
    vae_decoder: int
    unet: int
    conv: int
    """Of the U-Net's convolutions, 1x1 ones included."""
    attention: int
    """Of the projections in the U-Net's attention layers."""


def skeleton(model: ModelFolder, component: str) -> nn.Module:
    """Builds ``unet``, ``vae`` or a text encoder without weights.

    Raises:
        ModelError: the configuration is missing or damaged.
        Unsupported: the component is of a class that sfumato does not run.
    """
    if component == "unet":
        return meta_unet(model)
    name = model.class_name(component)
    if name not in (*_TEXT_CLASSES, *_VAE_CLASSES):
        raise Unsupported(f"model {model.name!r} has a {name} as {component}; use a Stable Diffusion model")
    config = model.config(component)
    try:
        with torch.device("meta"):
            module = _text_encoder(name, config) if name in _TEXT_CLASSES else _autoencoder(name, config)
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"model {model.name!r} is damaged: no {name} can be built from {component}") from error
    return module.requires_grad_(False).eval()


def _text_encoder(name: str, config: dict[str, Any]) -> Any:
    import transformers

    return getattr(transformers, name)(transformers.CLIPTextConfig.from_dict(config))


def _autoencoder(name: str, config: dict[str, Any]) -> Any:
    import diffusers

    with quiet_diffusers():
        return getattr(diffusers, name).from_config(config)


def num_parameters(*modules: nn.Module | None) -> int:
    """Parameters of modules together; None counts nothing."""
    return sum(p.numel() for m in modules if m is not None for p in m.parameters())


@dataclass(frozen=True)
class Skeleton:
    """Every part of one model, without weights."""

    unet: nn.Module
    vae: Any
    text_encoders: tuple[nn.Module, ...]

    @property
    def num_tokens(self) -> int:
        """Length to which every prompt is padded."""
        first: Any = self.text_encoders[0]
        return int(first.config.max_position_embeddings)

    @property
    def pixels_per_latent_row(self) -> int:
        """How much larger than its latent a picture is, each way."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def latent_size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Rows and columns of the latent of a picture; None stands for the model's own size.

        Raises:
            ValueError: the picture is not a whole number of latent rows and columns.
        """
        scale, config = self.pixels_per_latent_row, self.config
        own = config.sample_size if isinstance(config.sample_size, list | tuple) else [config.sample_size] * 2
        pixels = (height or own[0] * scale, width or own[1] * scale)
        if any(p <= 0 or p % scale for p in pixels):
            raise ValueError(f"height and width must be positive multiples of {scale}, got {pixels[0]} and {pixels[1]}")
        return pixels[0] // scale, pixels[1] // scale

    @property
    def config(self) -> Any:
        """The U-Net's configuration."""
        return self.unet.config

    def parameters(self) -> Parameters:
        """Counts the parameters that the paper's Table II counts.

        Source: PPIDM, Table II. The decoder includes ``post_quant_conv``; attention is the projections Q, K, V, out.
        """
        kinds = {kind: 0 for _, kind, _ in layers_of(self.unet)}
        for _, kind, module in layers_of(self.unet):
            kinds[kind] += num_parameters(module)
        return Parameters(
            text_encoder=num_parameters(*self.text_encoders),
            vae_decoder=num_parameters(self.vae.decoder, getattr(self.vae, "post_quant_conv", None)),
            unet=num_parameters(self.unet),
            conv=kinds.get("conv", 0) + kinds.get("pointwise_conv", 0),
            attention=kinds.get("self_attention", 0) + kinds.get("cross_attention", 0),
        )

    def text_flops(self, num_prompts: int) -> int:
        """FLOPs to encode prompts once.

        Args:
            num_prompts: 2 with guidance, which encodes the negative prompt too.
        """
        tokens = torch.zeros(num_prompts, self.num_tokens, dtype=torch.int64, device="meta")
        with torch.no_grad(), counted_flops() as flops:
            for encoder in self.text_encoders:
                encoder(tokens)
        return flops()

    def decoder_flops(self, height: int, width: int) -> int:
        """FLOPs to decode one latent of this size."""
        latent = torch.empty(1, self.vae.config.latent_channels, height, width, device="meta")
        with torch.no_grad(), counted_flops() as flops:
            self.vae.decode(latent)
        return flops()


@lru_cache(maxsize=4)
def whole_skeleton(model: ModelFolder) -> Skeleton:
    """Builds all parts of a model; kept, because several numbers of clouds are counted on the same one."""
    encoders = tuple(skeleton(model, c) for c in TEXT_ENCODERS if model.has(c))
    return Skeleton(skeleton(model, "unet"), skeleton(model, "vae"), encoders)
