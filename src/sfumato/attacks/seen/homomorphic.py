"""What a transcript of ``homomorphic`` tells apart from ciphertexts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from sfumato.attacks.seen.base import Half, Reader, SeenMap, SeenText
from sfumato.attacks.seen.entries import present, whole
from sfumato.attacks.seen.whole_unet import conditioning_of, features_of, map_paths, predictions_of
from sfumato.attacks.view import RunView
from sfumato.models.loading import meta_unet
from sfumato.protocols.homomorphic.messages import HybridLatent
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.readable import Condition
from sfumato.wire.transcript import Entry

_STEP = HybridLatent.__name__


class HomomorphicReader(Reader):
    """Sealed: nothing. With ``mode=paper`` predictions, and where the cloud denoises all that it runs the U-Net on.

    Entries of latents that are in the clear between encrypted ones are no map; the attacks in
    ``attacks/homomorphic`` read them.
    """

    protocol: ClassVar[str] = Homomorphic.name

    def num_pictures(self, view: RunView) -> int:
        """From the settings, or the shape beside the ciphertexts."""
        return view.settings.num_pictures if view.settings else int(self._steps(view)[0].values["shape"][0])

    def latents(self, view: RunView) -> list[SeenMap]:
        """What the cloud runs the U-Net on."""
        steps = self._steps(view)
        if steps[0].tensors["prediction"] is not None or _spec(view).denoiser == "client":
            raise self._lacks(view, "whole latents")
        return [
            whole(number, float(step.values["timestep"]), present(step.tensors["unet_input"]))
            for number, step in enumerate(steps)
        ]

    def predictions(self, view: RunView) -> list[SeenMap]:
        """The client's, after guidance; the cloud's own, before it."""
        if _spec(view).denoiser == "cloud":
            told = self.latents(view)
            made = predictions_of(view, told)
            return [whole(a.step, a.timestep, b) for a, b in zip(told, made, strict=True)]
        found = [
            whole(number, float(step.values["timestep"]), present(step.tensors["prediction"]))
            for number, step in enumerate(self._steps(view))
        ]
        return [replace(each, half=Half.GUIDED) for each in found]

    def text(self, view: RunView) -> SeenText:
        """The text embedding, where the cloud denoises."""
        if _spec(view).denoiser == "client":
            raise self._lacks(view, "the text")
        return SeenText(embeds=conditioning_of(view).prompt_embeds, projections={})

    def features(self, view: RunView, path: str) -> list[SeenMap]:
        """Where the cloud denoises, any layer's."""
        return features_of(view, self.latents(view), path)

    def feature_paths(self, view: RunView) -> list[str]:
        """Where the cloud denoises, convolutions and group norms."""
        if _spec(view).denoiser == "client":
            raise self._lacks(view, "features")
        return map_paths(meta_unet(view.model))

    def keeps(self, what: str, kind: str, values: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Steps and the text."""
        wanted = {"text": (Condition.__name__,), "latents": (_STEP,), "prompts": ()}
        return kind in wanted.get(what, (_STEP, Condition.__name__))

    def _steps(self, view: RunView) -> list[Entry]:
        found = list(view.entries(_STEP))
        if not found:
            raise self._lacks(view, "anything but ciphertexts")
        return found


def _spec(view: RunView) -> Homomorphic:
    assert isinstance(view.spec, Homomorphic), "a reader is found by its protocol"
    return view.spec
