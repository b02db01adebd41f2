"""Clouds around clouds: with a time-out of one's own, recorded, and kept in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sfumato.client.clouds import Clouds
from sfumato.client.local_clouds import LocalClouds
from sfumato.client.remote_clouds import RemoteClouds
from sfumato.transport.base import Channel
from sfumato.transport.keeping import KeepingChannel
from sfumato.transport.recording import Recording, RecordingChannel
from sfumato.wire.selection import Keeps


class TimedClouds:
    """Cloud processes that must answer each round in time."""

    def __init__(self, clouds: LocalClouds | RemoteClouds, timeout_seconds: float):
        self._clouds = clouds
        self._timeout_seconds = timeout_seconds

    @contextmanager
    def open_channel(self) -> Iterator[Channel]:
        """Opens a session with every cloud."""
        with self._clouds.open_channel(timeout_seconds=self._timeout_seconds) as channel:
            yield channel

    def close(self) -> None:
        """Closes the clouds inside."""
        self._clouds.close()


class RecordedClouds:
    """Clouds of which everything that they see is written down.

    Reveals: to whoever can read the folder, all that the clouds together saw.
    """

    def __init__(self, clouds: Clouds, directory: Path):
        self._clouds = clouds
        self._directory = directory

    @contextmanager
    def open_channel(self) -> Iterator[Channel]:
        """Opens a session with every cloud, and a new recording.

        Raises:
            ValueError: the folder holds a recording already.
        """
        with self._clouds.open_channel() as inner, RecordingChannel(inner, self._directory) as channel:
            yield channel

    def close(self) -> None:
        """Closes the clouds inside."""
        self._clouds.close()


class KeptClouds:
    """Clouds of which what they see in the last run is kept in memory.

    Reveals: to whoever holds it, all that the clouds together saw.
    """

    def __init__(self, clouds: Clouds, keeps: Keeps):
        self._clouds = clouds
        self._keeps = keeps
        self._last: KeepingChannel | None = None

    @contextmanager
    def open_channel(self) -> Iterator[Channel]:
        """Opens a session with every cloud, and forgets the last run."""
        self._last = None
        with self._clouds.open_channel() as inner, KeepingChannel(inner, self._keeps) as channel:
            self._last = channel
            yield channel

    def taken(self) -> Recording:
        """The last run, which is forgotten here.

        Raises:
            RuntimeError: there was none.
        """
        if self._last is None:
            raise RuntimeError("no run was made since the last one was taken")
        found, self._last = self._last.recording(), None
        return found

    def close(self) -> None:
        """Closes the clouds inside."""
        self._clouds.close()
