"""What a client and the nursery of its local clouds say to each other over the nursery's pipes.

The client writes one line of JSON, the order, to the nursery's stdin and then keeps that pipe open: its end is the
end of all clouds. The nursery answers with one line a report. Keys travel here and nowhere else: not in arguments,
not in the environment, not on disk.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from sfumato.errors import TransportError
from sfumato.transport.keys import CloudKeys


@dataclass(frozen=True, kw_only=True)
class NurseryOrder:
    """What the nursery is asked to start; nothing secret shows in its repr."""

    model: str | None
    """Folder or name; None for clouds that only keep vaults."""
    dtype: str
    """Of the clouds' weights and arithmetic: fp32, fp16 or bf16."""
    threads: int
    """Computing threads of one cloud."""
    idle_seconds: float
    vault: str | None = None
    """Folder in which the cloud keeps vaults, if it does."""
    clouds: tuple[CloudKeys, ...] = field(repr=False)

    def to_line(self) -> bytes:
        """The order as one line of JSON."""
        order = {f: getattr(self, f) for f in ("model", "dtype", "threads", "idle_seconds", "vault")}
        order["clouds"] = [
            {k: v.decode("ascii") if isinstance(v, bytes) else v for k, v in asdict(cloud).items()}
            for cloud in self.clouds
        ]
        return json.dumps(order).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Reads an order.

        Raises:
            TransportError: this is not one.
        """
        try:
            order = json.loads(line)
            clouds = tuple(
                CloudKeys(name=c["name"], token=c["token"], **{k: c[k].encode("ascii") for k in _PEMS})
                for c in order.pop("clouds")
            )
            return cls(clouds=clouds, **order)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise TransportError("the nursery of local clouds was given no order; only a client starts it") from None


_PEMS = ("authority", "certificate", "key")


@dataclass(frozen=True, kw_only=True)
class Listening:
    """A cloud is ready."""

    cloud: int
    port: int


@dataclass(frozen=True, kw_only=True)
class Died:
    """A cloud ended without being asked to; ``status`` as of :func:`os.waitstatus_to_exitcode`."""

    cloud: int
    status: int


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The nursery or a cloud could not start; the class of the error and its sentence."""

    error: str
    sentence: str


_MAX_TEXT = 600
"""Characters of one field; JSON may write each as six bytes, and a pipe takes 4,096 at once."""

Report = Listening | Died | Failed
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Listening, Died, Failed)}


def report_to_line(report: Report) -> bytes:
    """The report as one line of JSON, short enough that a pipe takes it whole."""
    fields = {name: value[:_MAX_TEXT] if isinstance(value, str) else value for name, value in asdict(report).items()}
    return json.dumps({"report": type(report).__name__, **fields}).encode() + b"\n"


def report_from_line(line: bytes) -> Report:
    """Reads one report.

    Raises:
        TransportError: this is not one.
    """
    try:
        values = json.loads(line)
        return _KINDS[values.pop("report")](**values)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TransportError("the nursery of local clouds said something that is not a report") from None
