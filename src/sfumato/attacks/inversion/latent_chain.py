"""The paper's D(v, e): from a latent through every sampling step and the decoder to a picture, with a gradient."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sfumato.attacks.inversion.activations import activation_budget, saved_bytes
from sfumato.attacks.inversion.view import Pictures
from sfumato.errors import Unsupported
from sfumato.models.decoding import decoded
from sfumato.models.denoiser import Conditioning, predict
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_decoder, load_unet
from sfumato.models.sampling import Sampling, make_scheduler, sample
from sfumato.tensors import GuidedPrediction, Latent


def normalised(latents: Latent) -> Latent:
    """Each picture's latent with mean 0 and standard deviation 1 over all of its values.

    Source: "Unlocking Visual Secrets", Algorithm 1.
    """
    flat = latents.flatten(1)
    return ((flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True)).view_as(latents)


class LatentChain:
    """DDIM steps of a public model and its decoder, weights frozen.

    As many of the steps as fit in memory keep their activations; the others compute theirs again on the way back
    (gradient checkpointing), and then the decoder does too. The gradient is the same.

    Args:
        unet, decoder: of one model, without gradients of their weights.
        scheduler: DDIM of that model.
        sampling_steps: of the chain; the paper takes 20.
        guidance_scale: counts where the conditioning has both halves.
        memory_gib: for activations; 0 takes half of what is free.
    """

    def __init__(
        self,
        unet: nn.Module,
        decoder: nn.Module,
        scheduler: Any,
        *,
        sampling_steps: int,
        guidance_scale: float = 1.0,
        memory_gib: float = 0.0,
    ) -> None:
        if sampling_steps < 1:
            raise ValueError(f"sampling_steps must be at least 1, got {sampling_steps}")
        self._unet, self._decoder, self._scheduler = unet, decoder, scheduler
        self.sampling_steps = sampling_steps
        self._guidance_scale = guidance_scale
        self._memory_gib = memory_gib
        self._kept: dict[tuple[int, ...], int] = {}

    def __call__(self, latents: Latent, conditioning: Conditioning) -> Pictures:
        """Pictures with values in 0..1.

        Args:
            latents: unit Gaussian, or normalised.
            conditioning: of as many rows, or twice as many, negative half first.
        """
        kept = self._kept_steps(latents, conditioning) if latents.requires_grad else self.sampling_steps
        again = iter(range(self.sampling_steps))

        def denoise(latent: Latent, timestep: Tensor, given: Conditioning) -> GuidedPrediction:
            if next(again) < self.sampling_steps - kept:
                return checkpoint(
                    predict, self._unet, latent, timestep, given, use_reentrant=False, preserve_rng_state=False
                )
            return predict(self._unet, latent, timestep, given)

        sampling = Sampling(
            scheduler=self._scheduler,
            noise=latents,
            conditioning=conditioning,
            num_inference_steps=self.sampling_steps,
            guidance_scale=self._guidance_scale,
        )
        for step in sample(denoise, sampling):
            latents = step.latents
        return decoded(self._decoder, latents)

    def _kept_steps(self, latents: Latent, conditioning: Conditioning) -> int:
        """How many steps keep their activations, found once for each shape."""
        shape = (*latents.shape, conditioning.batch)
        if shape not in self._kept:
            noise, timestep = latents.detach().requires_grad_(), self._scheduler.timesteps[0]
            step = saved_bytes(lambda: predict(self._unet, noise, timestep, conditioning), self._unet)
            whole = saved_bytes(lambda: decoded(self._decoder, noise), self._decoder)
            left = activation_budget(self._memory_gib, latents.device) - whole
            self._kept[shape] = min(self.sampling_steps, max(0, left // max(1, step)))
            if self._kept[shape] < self.sampling_steps:
                autoencoder: Any = self._decoder
                autoencoder.enable_gradient_checkpointing()
        return self._kept[shape]


def load_chain(
    model: ModelFolder,
    *,
    sampling_steps: int,
    guidance_scale: float = 1.0,
    memory_gib: float = 0.0,
    device: torch.device | str = "cpu",
) -> LatentChain:
    """Loads a public model's chain in fp32.

    Raises:
        ModelError, Unsupported: the model cannot be loaded.
    """
    return LatentChain(
        load_unet(model).to(device),
        load_frozen_decoder(model, device),
        make_scheduler(model, "ddim"),
        sampling_steps=sampling_steps,
        guidance_scale=guidance_scale,
        memory_gib=memory_gib,
    )


def load_frozen_decoder(model: ModelFolder, device: torch.device | str = "cpu") -> nn.Module:
    """Loads a public model's decoder in fp32, to be differentiated through.

    Raises:
        ModelError, Unsupported: the model cannot be loaded.
    """
    decoder = load_decoder(model)
    # Of the autoencoder only the decoder is loaded; what is on the meta device cannot be moved.
    for name, part in list(decoder.named_children()):
        if any(value.is_meta for value in part.parameters()):
            setattr(decoder, name, None)
    return decoder.to(device)


def latent_shape(model: ModelFolder, picture_size: tuple[int, int]) -> tuple[int, int, int]:
    """Channels, rows and columns of the latent of a picture; of a model with a decoder alone, what that takes.

    Raises:
        Unsupported: the model makes no pictures of this size.
    """
    factor, levels = scale_factor_of(model), 1
    if has_unet := model.has("unet"):
        levels = len(model.config("unet")["block_out_channels"])
    multiple = factor * 2 ** (levels - 1)
    if any(side < multiple or side % multiple for side in picture_size):
        raise Unsupported(
            f"model {model.name!r} makes pictures whose sides are multiples of {multiple}, got "
            f"{picture_size[0]} x {picture_size[1]}; scale the pictures"
        )
    height, width = picture_size
    channels = model.config("unet")["in_channels"] if has_unet else model.config("vae")["latent_channels"]
    return int(channels), height // factor, width // factor


def native_size(model: ModelFolder) -> tuple[int, int]:
    """Height and width of the pictures that a model was made for.

    Raises:
        Unsupported: it does not say.
    """
    if not model.has("unet"):
        raise Unsupported(f"model {model.name!r} has no U-Net and is for no size of its own: give height and width")
    found = model.config("unet")["sample_size"]
    rows, columns = (found, found) if isinstance(found, int) else found
    return rows * scale_factor_of(model), columns * scale_factor_of(model)


def scale_factor_of(model: ModelFolder) -> int:
    """Pixels to one row of the latent, from the configuration alone."""
    return int(2 ** (len(model.config("vae")["block_out_channels"]) - 1))
