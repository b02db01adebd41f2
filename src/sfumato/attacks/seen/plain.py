"""What a transcript of ``plain`` tells: everything."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sfumato.attacks.base import RunView
from sfumato.attacks.seen.base import Reader, SeenMap, SeenText, Window
from sfumato.errors import LacksInput
from sfumato.models.denoiser import Conditioning, predict
from sfumato.models.loading import load_unet
from sfumato.protocols.plain.spec import Noisy, Plain, Prediction
from sfumato.protocols.readable import Condition


class PlainReader(Reader):
    """The cloud runs the whole U-Net, so it also has every feature map inside."""

    protocol: ClassVar[str] = Plain.name

    def latents(self, view: RunView) -> list[SeenMap]:
        """Whole latents."""
        found = list(view.entries(Noisy.__name__))
        return [
            _whole(step, float(entry.values["timestep"]), _present(entry.tensors["latent"]))
            for step, entry in enumerate(found)
        ]

    def predictions(self, view: RunView) -> list[SeenMap]:
        """Whole predictions, as the cloud made them."""
        told = self.latents(view)
        found = [_present(entry.tensors["prediction"]) for entry in view.entries(Prediction.__name__)]
        return [_whole(a.step, a.timestep, b) for a, b in zip(told, found, strict=False)]

    def text(self, view: RunView) -> SeenText:
        """The text embedding itself."""
        return SeenText(embeds=_conditioning(view).prompt_embeds, projections={})

    @torch.no_grad()
    def features(self, view: RunView, path: str) -> list[SeenMap]:
        """Makes them again with the public U-Net."""
        unet: Any = load_unet(view.model)
        conditioning = _conditioning(view)
        seen: list[Tensor] = []

        def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:  # noqa: ARG001
            seen.append(inputs[0].float())

        handle = unet.get_submodule(path).register_forward_pre_hook(note)
        told = self.latents(view)
        try:
            for each in told:
                predict(unet, each.values, torch.tensor(each.timestep), conditioning)
        finally:
            handle.remove()
        return [_whole(each.step, each.timestep, values) for each, values in zip(told, seen, strict=True)]

    def feature_paths(self, view: RunView) -> list[str]:
        """Convolutions and group norms, whose input is a map."""
        return _maps_of(load_unet(view.model))

    def keeps(self, what: str, kind: str, values: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Features are made from latents and text."""
        wanted: dict[str, set[type]] = {
            "latents": {Noisy},
            "predictions": {Noisy, Prediction},
            "text": {Condition},
            "prompts": set(),
        }
        return kind in {each.__name__ for each in wanted.get(what, {Noisy, Condition})}


def _maps_of(unet: Any) -> list[str]:
    return [name for name, layer in unet.named_modules() if isinstance(layer, nn.Conv2d | nn.GroupNorm)]


def _conditioning(view: RunView) -> Conditioning:
    told = next(view.entries(Condition.__name__), None)
    if told is None:
        raise LacksInput("the run ended before its text was sent: record one that was finished")
    return Conditioning(
        prompt_embeds=_present(told.tensors["prompt_embeds"]).float(),
        pooled=told.tensors["pooled"],
        time_ids=told.tensors["time_ids"],
    )


def _whole(step: int, timestep: float, values: Tensor) -> SeenMap:
    height, width = values.shape[-2:]
    window = Window(0, height, 0, width, height, width)
    return SeenMap(step=step, timestep=timestep, window=window, values=values.float())


def _present(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise LacksInput("tensors of this run were not kept: record it with sfumato generate --record")
    return tensor
