"""What a transcript of ``plain`` tells: everything."""

from collections.abc import Mapping
from typing import Any, ClassVar

from sfumato.attacks.seen.base import Reader, SeenMap, SeenText
from sfumato.attacks.seen.entries import present, whole
from sfumato.attacks.seen.whole_unet import conditioning_of, features_of, map_paths
from sfumato.attacks.view import RunView
from sfumato.models.loading import meta_unet
from sfumato.protocols.plain.spec import Noisy, Plain, Prediction
from sfumato.protocols.readable import Condition


class PlainReader(Reader):
    """The cloud runs the whole U-Net, so it also has every feature map inside."""

    protocol: ClassVar[str] = Plain.name

    def latents(self, view: RunView) -> list[SeenMap]:
        """Whole latents."""
        found = list(view.entries(Noisy.__name__))
        return [
            whole(step, float(entry.values["timestep"]), present(entry.tensors["latent"]))
            for step, entry in enumerate(found)
        ]

    def predictions(self, view: RunView) -> list[SeenMap]:
        """Whole predictions, as the cloud made them."""
        told = self.latents(view)
        found = [present(entry.tensors["prediction"]) for entry in view.entries(Prediction.__name__)]
        return [whole(a.step, a.timestep, b) for a, b in zip(told, found, strict=False)]

    def text(self, view: RunView) -> SeenText:
        """The text embedding itself."""
        return SeenText(embeds=conditioning_of(view).prompt_embeds, projections={})

    def features(self, view: RunView, path: str) -> list[SeenMap]:
        """Makes them again with the public U-Net; any layer's."""
        return features_of(view, self.latents(view), path)

    def feature_paths(self, view: RunView) -> list[str]:
        """Convolutions and group norms, whose input is a map."""
        return map_paths(meta_unet(view.model))

    def keeps(self, what: str, kind: str, values: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Features are made from latents and text."""
        wanted: dict[str, set[type]] = {
            "latents": {Noisy},
            "predictions": {Noisy, Prediction},
            "text": {Condition},
            "prompts": set(),
        }
        return kind in {each.__name__ for each in wanted.get(what, {Noisy, Condition})}
