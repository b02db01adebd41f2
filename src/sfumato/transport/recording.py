"""A channel that writes down what each cloud saw, around any other channel."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Self

from sfumato.errors import WireError
from sfumato.transport.base import Channel, Delivered, UnderWay
from sfumato.wire.messages import Hello, Message
from sfumato.wire.transcript import Direction, Transcript, TranscriptWriter

_META = "meta.json"


class RecordingChannel(Channel):
    """Passes every round on, and keeps it: ``DIR/meta.json`` and ``DIR/cloud-i.transcript``.

    Counts stay those of the inner channel; the time spent writing is taken out of the waiting time. What clouds send to
    each other does not pass here: runs in which they do are refused (``client/sessions.py``).

    Reveals: to whoever can read the folder, all that the clouds together saw. Only its owner can.
    """

    is_recorded = True

    def __init__(self, inner: Channel, directory: Path):
        """Starts recording.

        Args:
            inner: carries the rounds; closed with this channel.
            directory: made if need be; must hold no recording yet.

        Raises:
            ValueError: there is a recording already.
        """
        super().__init__(inner.clouds, inner.targets)
        self.traffic = inner.traffic
        self._inner = inner
        self._directory = Path(directory)
        if (self._directory / _META).exists() or any(self._directory.glob("*.transcript")):
            raise ValueError(f"{directory} holds a recording already; choose another folder")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._writers = [TranscriptWriter(self._directory / f"{name}.transcript") for name in self.clouds]
        self._meta: dict[str, Any] = {"clouds": list(self.clouds)}
        self._write_meta()
        self._began = perf_counter()

    def _write_meta(self) -> None:
        (self._directory / _META).write_text(json.dumps(self._meta, indent=2) + "\n")

    def _add_to_meta(self, clouds: range, hello: Hello) -> None:
        """What the sessions with some clouds are of; where these are not all, besides in a list of the parts."""
        own = {"protocol": hello.protocol, "spec": json.loads(hello.spec_json)}
        if clouds.start == 0:
            self._meta |= {"sfumato": hello.package_version, **own, "model_fingerprint": hello.model_fingerprint}
        if clouds != self.numbers:
            self._meta.setdefault("parts", []).append({"clouds": [self.clouds[i] for i in clouds], **own})
        self._write_meta()

    def _start(self, clouds: range, requests: Sequence[Message], kinds: tuple[type[Message], ...]) -> UnderWay:
        started = perf_counter()
        if isinstance(requests[0], Hello):
            self._add_to_meta(clouds, requests[0])
        self._write(clouds, Direction.TO_CLOUD, [(started, request) for request in requests])
        sending = perf_counter()
        under_way = self._inner._start(clouds, requests, kinds)
        self.traffic.waiting_seconds -= sending - started

        def written() -> list[Delivered]:
            delivered = under_way.deliver()
            arrived = perf_counter()
            self._write(clouds, Direction.FROM_CLOUD, [(sending + d.answered_seconds, d.reply) for d in delivered])
            self.traffic.waiting_seconds -= perf_counter() - arrived
            return delivered

        return UnderWay(written, under_way.future)

    def _write(self, clouds: range, direction: Direction, messages: Sequence[tuple[float, Message]]) -> None:
        for cloud, (moment, message) in zip(clouds, messages, strict=True):
            self._writers[cloud].write(direction, moment - self._began, message)
            self._writers[cloud].flush()

    def _end(self, clouds: Sequence[int]) -> None:
        try:
            self._inner._close(clouds)
        finally:
            for cloud in clouds:
                self._writers[cloud].close()


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recorded run: what was public about it, and the transcript of every cloud."""

    meta: dict[str, Any]
    """``clouds``, and once the sessions were opened ``sfumato``, ``protocol``, ``spec``, ``model_fingerprint``.

    Where clouds of one run follow different specs, ``protocol`` and ``spec`` are those of the first cloud, and
    ``parts`` is a list: for some ``clouds``, by name, their own ``protocol`` and ``spec``.
    """
    transcripts: dict[str, Transcript]
    """By the cloud's name."""

    @classmethod
    def read(cls, directory: Path | str) -> Self:
        """Reads what a :class:`RecordingChannel` wrote.

        Raises:
            WireError: there is no recording, or it is damaged.
        """
        directory = Path(directory)
        try:
            meta = json.loads((directory / _META).read_text())
            transcripts = {name: Transcript.read(directory / f"{name}.transcript") for name in meta["clouds"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WireError(f"{directory} holds no recording that can be read") from error
        return cls(meta=meta, transcripts=transcripts)
