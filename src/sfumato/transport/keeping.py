"""A channel that keeps in memory what each cloud saw, around any other channel: for audits of runs made for them."""

import json
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from torch import Tensor

from sfumato.transport.base import Channel, Delivered, UnderWay
from sfumato.transport.recording import Recording
from sfumato.wire.codec import encoded_size, tensor_fields
from sfumato.wire.messages import Hello, Message, field_names
from sfumato.wire.selection import Keeps
from sfumato.wire.transcript import Direction, Entry, Transcript


class KeepingChannel(Channel):
    """Passes every round on, and keeps every message, with its tensors only where they are wanted.

    Reveals: to whoever holds it, all that the clouds together saw.

    Args:
        inner: carries the rounds; closed with this channel.
        keeps: which tensors to keep; a run's are gigabytes.
    """

    is_recorded = True

    def __init__(self, inner: Channel, keeps: Keeps):
        super().__init__(inner.clouds, inner.targets)
        self.traffic = inner.traffic
        self._inner = inner
        self._keeps = keeps
        self._meta: dict[str, Any] = {"clouds": list(self.clouds)}
        self._entries: list[list[Entry]] = [[] for _ in self.clouds]
        self._began = perf_counter()

    def recording(self) -> Recording:
        """What was kept so far, as if it had been read from a folder."""
        found = (Transcript(entries=tuple(entries), is_truncated=False) for entries in self._entries)
        return Recording(meta=dict(self._meta), transcripts=dict(zip(self.clouds, found, strict=True)))

    def _start(self, clouds: range, requests: Sequence[Message], kinds: tuple[type[Message], ...]) -> UnderWay:
        if isinstance(hello := requests[0], Hello):
            self._note(clouds, hello)
        started = perf_counter() - self._began
        for cloud, request in zip(clouds, requests, strict=True):
            self._keep(cloud, Direction.TO_CLOUD, started, request)
        under_way = self._inner._start(clouds, requests, kinds)

        def kept() -> list[Delivered]:
            delivered = under_way.deliver()
            for cloud, each in zip(clouds, delivered, strict=True):
                self._keep(cloud, Direction.FROM_CLOUD, started + each.answered_seconds, each.reply)
            return delivered

        return UnderWay(kept, under_way.future)

    def _note(self, clouds: range, hello: Hello) -> None:
        own = {"protocol": hello.protocol, "spec": json.loads(hello.spec_json)}
        if clouds.start == 0:
            self._meta |= {"sfumato": hello.package_version, **own, "model_fingerprint": hello.model_fingerprint}
        if clouds != self.numbers:
            self._meta.setdefault("parts", []).append({"clouds": [self.clouds[i] for i in clouds], **own})

    def _keep(self, cloud: int, direction: Direction, seconds: float, message: Message) -> None:
        kind = type(message)
        tensors = tensor_fields(kind)
        # As they are after the wire: plain lists, and tensors that nobody changes any more.
        values = {n: _plain(getattr(message, n)) for n in field_names(kind) if n not in tensors}
        wanted = self._keeps(kind.__name__, values)
        self._entries[cloud].append(
            Entry(
                direction=direction,
                seconds=seconds,
                size_bytes=encoded_size(message),
                kind=kind.__name__,
                values=values,
                tensors={name: _copy(getattr(message, name)) if wanted else None for name in tensors},
            )
        )

    def _end(self, clouds: Sequence[int]) -> None:
        self._inner._close(clouds)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().clone()
