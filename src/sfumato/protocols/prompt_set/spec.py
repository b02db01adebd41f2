"""All that is public about ``prompt-set``: its settings and its messages.

Source: ObCLIP, NeurIPS 2025, arXiv 2510.04153.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from sfumato.protocols.base import Spec, setting
from sfumato.protocols.prompt_set.acceleration import Acceleration
from sfumato.protocols.prompt_set.handoff import HandoffKind
from sfumato.tensors import Latent
from sfumato.wire.dtypes import WireDtype
from sfumato.wire.messages import Message

MOST_CANDIDATES = 1024
"""Of one request, whatever a spec allows: a cloud takes memory for each."""


@dataclass(frozen=True, kw_only=True)
class PromptSet(Spec):
    """One cloud makes the first steps for every prompt of a set; the client picks its own and finishes."""

    name: ClassVar[str] = "prompt-set"

    server_steps: str = setting(
        "10-4-6",
        "k-r-s: the cloud makes the first k steps, from step r on with kept attention, and from step s on without its "
        "down path; 5-3-3 and 10-4-6 are the paper's, of 25 steps, and k-k-k keeps nothing",
    )
    reuse_maps: bool = setting(
        False,
        "as published: steps below r use the first candidate's attention maps for all; saves a few percent, and the "
        "others take its layout",
    )
    refresh_every: int = setting(0, "kept attention is computed afresh every so many steps; 0: never again")
    handoff: HandoffKind = setting(
        "restart",
        "restart: the client's solver starts anew; ship-history: the cloud's last output comes too, twice the bytes, "
        "and dpm++ goes on from it",
    )
    server_scheduler: Literal["same", "ddim", "dpm++", "euler", "lcm"] = setting(
        "same", "the cloud's; same: as the client's"
    )
    server_inference_steps: int = setting(0, "of the cloud's schedule, of which it makes k; 0: as many as the client's")
    wire_dtype: WireDtype = setting("fp16", "number format of noise and latents on the wire")
    max_candidates: int = setting(32, "larger sets are refused")
    on_no_attribute: Literal["refuse", "plain"] = setting(
        "refuse", "a prompt that names no attribute is refused, or (plain) sent as it is, which hides nothing"
    )

    def problems(self) -> list[str]:
        """One cloud, steps that can be read, and a set that hides something."""
        found = super().problems()
        if found:
            return found
        if self.num_clouds > 1:
            found.append(f"num_clouds must be 1, got {self.num_clouds}: one cloud makes all of the server's steps")
        if self.refresh_every < 0:
            found.append(f"refresh_every must be at least 0, got {self.refresh_every}")
        if self.server_inference_steps < 0:
            found.append(f"server_inference_steps must be at least 0, got {self.server_inference_steps}")
        if not 2 <= self.max_candidates <= MOST_CANDIDATES:
            found.append(f"max_candidates must be 2 to {MOST_CANDIDATES}, got {self.max_candidates}")
        return [*found, *self._problems_of_steps()]

    def _problems_of_steps(self) -> list[str]:
        numbers = self.server_steps.split("-")
        if len(numbers) != 3 or not all(n.isascii() and n.isdigit() for n in numbers):
            return [f"server_steps must be three numbers k-r-s, such as 10-4-6, got {self.server_steps!r}"]
        try:
            _ = self.acceleration
        except ValueError as error:
            return [f"server_steps={self.server_steps}: {error}"]
        return []

    @property
    def acceleration(self) -> Acceleration:
        """What the cloud computes when."""
        num_steps, cache_from, skip_from = map(int, self.server_steps.split("-"))
        return Acceleration(
            num_steps=num_steps,
            cache_from=cache_from,
            skip_from=skip_from,
            reuse_maps=self.reuse_maps,
            refresh_every=self.refresh_every or None,
        )

    @property
    def claim(self) -> str:
        """Which of the set, and at which price."""
        return (
            "The cloud reads a set of prompts that differ in sensitive attributes only, and nothing that it receives "
            "depends on which of them was meant; the price is that it works on all of them, and that a small model on "
            "this device finishes the picture."
        )

    def seen_by(self, cloud_index: int) -> str:  # noqa: ARG002
        """The set."""
        return "every candidate prompt, and all their latents"

    @property
    def not_hidden(self) -> tuple[str, ...]:
        """What the set shows, and what no set can hide."""
        return (
            "The cloud reads all that the candidates share, the negative prompt, and which attributes occur.",
            "The candidates are not equally likely: the cloud's posterior over them is its prior.",
            "The cloud holds the noise and can finish every candidate's picture; one that is published, or that it "
            "sees elsewhere, names the candidate.",
            "A cloud that deviates can mark each latent, and find the mark in a published picture.",
            "The cloud sees the model, the picture's size, the number of steps and the timing.",
        )


@dataclass(frozen=True, kw_only=True)
class Candidates(Message):
    """Client to cloud, once a picture: make the first steps for these.

    Reveals: the set of prompts, sorted, of which one is meant; the negative prompt, the noise and the settings. All of
    it is the same for every prompt of the set.
    """

    topic: ClassVar[str] = "candidates"

    prompts: tuple[str, ...]
    negative: str
    has_negative: bool
    """Without one SDXL is told zeros rather than an empty prompt."""
    is_guided: bool
    guidance_scale: float
    scheduler: str
    num_inference_steps: int
    height: int
    width: int
    seed: int
    """Of noise that the scheduler adds on the way, the same for all candidates."""
    noise: Latent
    """One row, shared by all candidates."""


@dataclass(frozen=True, kw_only=True)
class CandidateLatents(Message):
    """Cloud to client: where all candidates stand after the server's steps.

    Reveals: to the client, the latents of prompts that it did not mean; the choice among them is never sent.
    """

    topic: ClassVar[str] = "candidates"

    latents: Latent
    """One row a candidate, as a U-Net sees them."""
    timestep: float
    sigma: float
    prediction_type: str
    schedule_hash: str
    scaling_factor: float
    previous: Float[Tensor, "candidate channel height width"] | None
    """What the solver remembers, with ``handoff=ship-history``."""
    previous_sigma: float
