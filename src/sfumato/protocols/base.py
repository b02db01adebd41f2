"""What both sides of a protocol are made of: a public spec, and a worker half.

The client half is in ``client_half.py``. The halves of one protocol never import each other; ``client/catalog.py`` and
``worker/catalog.py`` know which half belongs to which spec, so a worker process never loads client code.
"""

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, NamedTuple, get_args, get_origin

from sfumato.errors import SpecMismatch
from sfumato.wire.messages import Message


class StepCycle(NamedTuple):
    """How the steps of a run repeat: some at the start, then a pattern over and over.

    Steps at the same place of the pattern exchange messages of the same kinds and sizes, in every repetition.
    """

    before: int = 1
    """Steps before the pattern; the first of them may tell what no other step tells."""
    length: int = 1
    """Steps of the pattern; with 1 all of them are alike."""


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
    uses_model: ClassVar[bool] = True
    """Whether client and cloud have to have the same model."""

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
    def num_own_clouds(self) -> int:
        """How many of the clouds, from the first, follow this protocol; the others follow one that it names."""
        return self.num_clouds

    @property
    @abstractmethod
    def claim(self) -> str:
        """One sentence: what this spec hides, from how many clouds, at which cost."""

    @property
    @abstractmethod
    def not_hidden(self) -> tuple[str, ...]:
        """What a cloud learns all the same, a sentence each."""

    @property
    def step_cycle(self) -> StepCycle:
        """How the steps repeat; by default all but the first are alike."""
        return StepCycle()

    @property
    def not_hidden_with_seed(self) -> tuple[str, ...]:
        """What a cloud learns in addition where the first noise follows from a seed."""
        return ()

    def peers_of(self, cloud_index: int) -> tuple[int, ...]:  # noqa: ARG002
        """The other clouds that a cloud meets without the client, in order: some for every cloud, or none for any."""
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
