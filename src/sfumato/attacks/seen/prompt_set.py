"""What a transcript of ``prompt-set`` tells: the candidates, and how far each of them was taken."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from sfumato.attacks.seen.base import Reader, SeenMap
from sfumato.attacks.seen.entries import present, whole
from sfumato.attacks.view import RunView
from sfumato.models.sampling import make_scheduler
from sfumato.protocols.prompt_set.spec import CandidateLatents, Candidates, PromptSet


class PromptSetReader(Reader):
    """Each picture has a request of its own; which candidate was meant is in none of them."""

    protocol: ClassVar[str] = PromptSet.name

    def num_pictures(self, view: RunView) -> int:
        """One a request."""
        return len(list(view.entries(Candidates.__name__)))

    def prompts(self, view: RunView) -> tuple[tuple[str, ...], ...]:
        """The candidates, as they were sent."""
        found = tuple(tuple(entry.values["prompts"]) for entry in view.entries(Candidates.__name__))
        if not found:
            raise self._lacks(view, "candidates before the run ended")
        return found

    def latents(self, view: RunView) -> list[SeenMap]:
        """One map: where the cloud left every candidate. Rows are the first picture's candidates in the order of
        :meth:`prompts`, then the second's.
        """
        found = list(view.entries(CandidateLatents.__name__))
        if not found:
            raise self._lacks(view, "latents before the run ended")
        values = torch.cat([present(entry.tensors["latents"]) for entry in found])
        return [whole(_spec(view).acceleration.num_steps, float(found[0].values["timestep"]), values)]

    def noise(self, view: RunView) -> SeenMap:
        """One row a picture, as the U-Net reads it at the first step."""
        found = list(view.entries(Candidates.__name__))
        if not found:
            raise self._lacks(view, "noise before the run ended")
        scheduler = make_scheduler(view.model, found[0].values["scheduler"])
        scheduler.set_timesteps(found[0].values["num_inference_steps"])
        noise = torch.cat([present(entry.tensors["noise"]) for entry in found]).float() * scheduler.init_noise_sigma
        first = scheduler.timesteps[0]
        return whole(0, float(first), scheduler.scale_model_input(noise, first))

    def keeps(self, what: str, kind: str, values: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Texts are plain fields."""
        return what == "latents" and kind in (Candidates.__name__, CandidateLatents.__name__)


def _spec(view: RunView) -> PromptSet:
    assert isinstance(view.spec, PromptSet), "a reader is found by its protocol"
    return view.spec
