"""What every message has in common. The kinds themselves live with the protocols that send them."""

from dataclasses import dataclass, field, fields
from typing import ClassVar

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Message:
    """One thing on the wire.

    A kind is a frozen subclass whose fields are tensors (annotated ``Tensor`` or with a jaxtyping shape) or
    plain values (``int``, ``float``, ``bool``, ``str``, ``tuple[int, ...]``). The class name travels as the
    kind; the field order is the wire order. Every kind says in its docstring what its receiver learns
    (``Reveals:``).
    """

    topic: ClassVar[str] = "session"
    """What the bytes are spent on, for traffic tables: a layer kind or ``session``."""


def field_names(kind: type[Message]) -> tuple[str, ...]:
    """Names of a kind's fields in wire order."""
    return tuple(f.name for f in fields(kind))


def tensors_of(message: Message) -> dict[str, Tensor]:
    """The tensors of a message by field name, in wire order."""
    values = ((name, getattr(message, name)) for name in field_names(type(message)))
    return {name: value for name, value in values if isinstance(value, Tensor)}


@dataclass(frozen=True, kw_only=True)
class Hello(Message):
    """Opens a session; the first message on every stream.

    Reveals: protocol and spec (public by design), the model's fingerprint, package version, how many clouds
    take part and which one the receiver is. Nothing about prompt or picture.
    """

    package_version: str
    protocol: str
    spec_json: str
    model_fingerprint: str
    cloud_index: int
    num_clouds: int


@dataclass(frozen=True, kw_only=True)
class Welcome(Message):
    """The cloud's yes to a :class:`Hello`.

    Reveals: to the client, the package version and the cloud's session time-out in seconds.
    """

    package_version: str
    idle_seconds: float


@dataclass(frozen=True, kw_only=True)
class Introduction(Message):
    """Client to cloud: the other clouds that it is to meet in this run, and how each proves itself.

    Only where the spec lets clouds meet. The fields below have an entry for each of these clouds.

    Reveals: the other clouds' addresses, a random name for the run, and a random secret for each pair of clouds.
    Nothing about prompt or picture.
    """

    run: str
    clouds: tuple[int, ...]
    """Which they are, counted from 0."""
    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    secrets: tuple[str, ...] = field(repr=False)
    first: int = 0
    """Which cloud of the run is cloud 0 of the spec: so many before it follow another. Certificates count all."""


@dataclass(frozen=True, kw_only=True)
class Introduced(Message):
    """Cloud to client: it expects these clouds now.

    Reveals: to the client, nothing.
    """


@dataclass(frozen=True, kw_only=True)
class Connect(Message):
    """Client to cloud: all clouds expect each other, so that the streams between them can be opened.

    Reveals: that the introductions are done.
    """


@dataclass(frozen=True, kw_only=True)
class Connected(Message):
    """Cloud to client: it has a stream to every cloud that it was introduced to.

    Reveals: to the client, nothing.
    """


@dataclass(frozen=True, kw_only=True)
class Refusal(Message):
    """The cloud's no, to a :class:`Hello` or to any later request; the session ends.

    Reveals: to the client, the class of the error and one public sentence.
    """

    error: str
    sentence: str
