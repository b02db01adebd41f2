"""What every protocol is made of: a public spec, a client half and a worker half.

The halves of one protocol never import each other; ``client/catalog.py`` and ``worker/catalog.py`` know which half
belongs to which spec, so a worker process never loads client code.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, NamedTuple, get_args, get_origin

from torch import nn

from sfumato.errors import SpecMismatch
from sfumato.models.denoiser import Denoiser
from sfumato.models.layers import Layer
from sfumato.models.sampling import Sampling, Step, sample
from sfumato.models.weights import Wanted
from sfumato.tensors import Latent
from sfumato.transport.base import Channel
from sfumato.wire.messages import Message


class Shares(NamedTuple):
    """Who computes how much of one layer's FLOPs in one step; both may compute all of them."""

    client: float
    clouds: float
    """All clouds together, without what is computed twice at the borders of strips."""
    is_once: bool = False
    """Whether the client computes its share at the first step only, and keeps the result."""


BY_CLIENT, BY_CLOUDS = Shares(1.0, 0.0), Shares(0.0, 1.0)


def setting(default: Any, help: str) -> Any:
    """Declares a spec field with its default and the sentence that ``--help`` prints."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class Spec(ABC):
    """The public parameters of one protocol, sent to every cloud in the handshake.

    Subclasses are frozen dataclasses; :meth:`problems` lists everything that is wrong with one, and construction
    raises ``ValueError`` with all of it at once.
    """

    name: ClassVar[str]

    num_clouds: int = setting(1, "how many clouds take part")

    def __post_init__(self) -> None:
        if problems := self.problems():
            raise ValueError(f"{self.name}: " + "; ".join(problems))

    def problems(self) -> list[str]:
        """What is wrong with these values, a sentence each; empty when all is well."""
        found = [p for f in fields(self) for p in _choice_problems(f.name, f.type, getattr(self, f.name))]
        if type(self.num_clouds) is int and self.num_clouds < 1:
            found.insert(0, f"num_clouds must be at least 1, got {self.num_clouds}")
        return found

    @property
    @abstractmethod
    def claim(self) -> str:
        """One sentence: what this spec hides, from how many clouds, at which cost."""

    @property
    @abstractmethod
    def not_hidden(self) -> tuple[str, ...]:
        """What a cloud learns all the same, a sentence each."""

    @property
    def not_hidden_with_seed(self) -> tuple[str, ...]:
        """What a cloud learns in addition where the first noise follows from a seed."""
        return ()

    @abstractmethod
    def seen_by(self, cloud_index: int) -> str:
        """What one cloud receives, in a few words, for the closing table."""

    def to_json(self) -> str:
        """The spec as canonical JSON: sorted keys, no blanks."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    def to_dict(self) -> dict[str, Any]:
        """The spec's fields as plain JSON values."""
        return {k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        """Rebuilds a spec that a peer sent.

        Raises:
            SpecMismatch: unknown or missing fields, or values that this side does not accept.
        """
        try:
            values = json.loads(text)
            if not isinstance(values, dict) or set(values) != {f.name for f in fields(cls)}:
                raise ValueError("its fields are not the ones this version knows")
            arguments: dict[str, Any] = {k: frozenset(v) if isinstance(v, list) else v for k, v in values.items()}
            return cls(**arguments)
        except (ValueError, TypeError, RecursionError) as error:
            raise SpecMismatch(f"the spec of {cls.name} was not accepted: {error}") from error


def _choice_problems(name: str, annotation: Any, value: object) -> list[str]:
    """Values outside a ``Literal`` or a ``frozenset`` of one, a sentence each."""
    is_set = get_origin(annotation) is frozenset
    choices = get_args(annotation)[0] if is_set else annotation
    if get_origin(choices) is not Literal:
        return (
            []
            if not isinstance(annotation, type) or type(value) is annotation
            else [f"{name} must be {annotation.__name__}, got {value!r}"]
        )
    known = get_args(choices)
    given = value if isinstance(value, frozenset) else [value]
    wrong = sorted(str(v) for v in given if v not in known)
    return (
        [f"{name} must be {'among' if is_set else 'one of'} {', '.join(known)}, got {', '.join(wrong)}"]
        if wrong
        else []
    )


class WorkerHalf(ABC):
    """One cloud's side of one session. It holds what the session needs and nothing of other sessions."""

    kinds: ClassVar[tuple[type[Message], ...]]
    """The kinds of request it accepts."""

    @abstractmethod
    def handle(self, request: Message) -> Message:
        """Computes the reply to one request.

        Run by: worker.

        Raises:
            WireError: a request of another shape than its layer takes.
        """


class ClientHalf(ABC):
    """The client's side of one protocol: the outer seam, one whole generation."""

    @abstractmethod
    def shares(self, unet: nn.Module, repeats: int) -> Callable[[Layer], Shares]:
        """Says who computes each layer of the U-Net.

        Args:
            unet: may be on the meta device.
            repeats: guidance halves in a step, 1 or 2; layers are counted with both.
        """

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

    @abstractmethod
    def generate(self, unet: nn.Module, channel: Channel, sampling: Sampling, on_step: "OnStep") -> Latent:
        """Runs one generation and returns the final latent.

        Run by: client.
        """


OnStep = Callable[[Step], Latent | None]
"""Watches a step; may return latents to go on with instead."""


class StepwiseClient(ClientHalf):
    """A protocol whose clouds take part in every denoising step: it only supplies a denoiser."""

    @abstractmethod
    def denoiser(self, unet: nn.Module, channel: Channel) -> AbstractContextManager[Denoiser]:
        """Gives a denoiser that lives, in part, at the clouds.

        Run by: client.
        """

    def generate(self, unet: nn.Module, channel: Channel, sampling: Sampling, on_step: OnStep) -> Latent:
        """Denoises with the shared sampler."""
        latents = sampling.noise
        with self.denoiser(unet, channel) as denoiser:
            for step in sample(denoiser, sampling, on_step):
                latents = step.latents
        return latents
