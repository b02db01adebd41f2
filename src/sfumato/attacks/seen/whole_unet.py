"""Clouds that run the whole U-Net in the clear: the text they are told, and every map inside, made again."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.attacks.seen.base import SeenMap
from sfumato.attacks.seen.entries import present, whole
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.models.denoiser import Conditioning, predict
from sfumato.models.loading import load_unet
from sfumato.protocols.readable import Condition
from sfumato.tensors import GuidedPrediction


def conditioning_of(view: RunView) -> Conditioning:
    """What the cloud was told of the text.

    Raises:
        LacksInput: nothing.
    """
    told = next(view.entries(Condition.__name__), None)
    if told is None:
        raise LacksInput("the run ended before its text was sent: record one that was finished")
    return Conditioning(
        prompt_embeds=present(told.tensors["prompt_embeds"]).float(),
        pooled=told.tensors["pooled"],
        time_ids=told.tensors["time_ids"],
    )


@torch.no_grad()
def features_of(view: RunView, latents: Sequence[SeenMap], path: str) -> list[SeenMap]:
    """The input of a layer, made again with the public U-Net; tokens become maps."""
    unet: Any = load_unet(view.model)
    conditioning = conditioning_of(view)
    seen: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:  # noqa: ARG001
        seen.append(inputs[0].float())

    with unet.get_submodule(path).register_forward_pre_hook(note):
        for each in latents:
            predict(unet, each.values, torch.tensor(each.timestep), conditioning)
    return [
        whole(a.step, a.timestep, as_map(b, (a.window.height, a.window.width)))
        for a, b in zip(latents, seen, strict=True)
    ]


@torch.no_grad()
def predictions_of(view: RunView, latents: Sequence[SeenMap]) -> list[GuidedPrediction]:
    """What the public U-Net predicts."""
    unet, conditioning = load_unet(view.model), conditioning_of(view)
    return [predict(unet, each.values, torch.tensor(each.timestep), conditioning) for each in latents]


def map_paths(unet: nn.Module) -> list[str]:
    """Convolutions and group norms, whose input is a map."""
    return [name for name, layer in unet.named_modules() if isinstance(layer, nn.Conv2d | nn.GroupNorm)]


def as_map(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Tokens of a map, row by row, as the map; maps as they are.

    Args:
        values: (rows, token, channel), or a map.
        size: rows and columns of the latent, which levels halve.
    """
    if values.dim() == 4:
        return values
    height, width = size
    while height * width > values.shape[1]:
        height, width = -(-height // 2), -(-width // 2)
    return values.transpose(1, 2).unflatten(2, (height, width))
