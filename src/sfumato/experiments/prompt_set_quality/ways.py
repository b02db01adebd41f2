"""Ways to get a picture, as ObCLIP's tables list them, and which of them share their pictures."""

from dataclasses import dataclass
from typing import Final, Literal

from sfumato.protocols.prompt_set.acceleration import Acceleration
from sfumato.protocols.prompt_set.spec import PromptSet

Kind = Literal["server only", "device only", "vanilla oblivious", "hybrid", "prompt-set", "+ cache", "+ reuse"]
PAPER_SETTINGS: Final = ("5-3-3", "10-4-6")
_KINDS_OF_A_SETTING: Final[tuple[Kind, ...]] = ("hybrid", "prompt-set", "+ cache", "+ reuse")


@dataclass(frozen=True, kw_only=True)
class Way:
    """One line of a table."""

    kind: Kind
    setting: str | None = None
    """k-r-s of the server's steps; None where one model makes all steps."""

    @property
    def name(self) -> str:
        """As tables print it."""
        if self.setting is None:
            return self.kind
        return f"{self.kind}, {self._steps_text}"

    @property
    def _steps_text(self) -> str:
        is_whole = self.kind in ("hybrid", "prompt-set")
        return f"k = {self.setting.split('-')[0]}" if is_whole and self.setting else f"{self.setting}"

    @property
    def is_private(self) -> bool:
        """Whether the server works on the whole set."""
        return self.kind not in ("server only", "device only", "hybrid")

    @property
    def server_steps(self) -> str:
        """As the spec of prompt-set has it; plain and hybrid runs keep nothing."""
        assert self.setting is not None
        num_steps = self.setting.split("-")[0]
        return self.setting if self.kind in ("+ cache", "+ reuse") else "-".join([num_steps] * 3)

    @property
    def spec(self) -> PromptSet:
        """The protocol, for ways with a setting."""
        return PromptSet(server_steps=self.server_steps, reuse_maps=self.kind == "+ reuse")

    def acceleration(self, num_inference_steps: int) -> Acceleration | None:
        """What the server does; None where it does nothing."""
        if self.kind == "device only":
            return None
        return Acceleration.none(num_inference_steps) if self.setting is None else self.spec.acceleration

    def num_server_steps(self, num_inference_steps: int) -> int:
        """Steps that the server makes."""
        acceleration = self.acceleration(num_inference_steps)
        return acceleration.num_steps if acceleration else 0

    def candidates_on_server(self, num_candidates: int) -> int:
        """Prompts that the server works on."""
        if self.kind == "device only":
            return 0
        return num_candidates if self.is_private else 1

    @property
    def painted_by(self) -> "Way":
        """The way whose pictures are this one's too.

        Without map reuse no candidate touches another, so that a set changes the cost and not the picture.
        """
        if self.kind == "vanilla oblivious":
            return SERVER_ONLY
        return Way(kind="prompt-set", setting=self.setting) if self.kind == "hybrid" else self


SERVER_ONLY: Final = Way(kind="server only")
DEVICE_ONLY: Final = Way(kind="device only")
VANILLA: Final = Way(kind="vanilla oblivious")


def all_ways(settings: tuple[str, ...]) -> tuple[Way, ...]:
    """The lines of one table, in their order."""
    staged = [Way(kind=kind, setting=setting) for setting in settings for kind in _KINDS_OF_A_SETTING]
    return (SERVER_ONLY, DEVICE_ONLY, VANILLA, *staged)


def painting_ways(settings: tuple[str, ...]) -> tuple[Way, ...]:
    """Those that have pictures of their own."""
    return tuple(way for way in all_ways(settings) if way.painted_by == way)
