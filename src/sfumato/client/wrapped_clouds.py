"""Clouds around clouds: with a time-out of one's own, and recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sfumato.client.clouds import Clouds
from sfumato.client.local_clouds import LocalClouds
from sfumato.client.remote_clouds import RemoteClouds
from sfumato.transport.base import Channel
from sfumato.transport.recording import RecordingChannel


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
