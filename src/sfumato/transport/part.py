"""Some clouds of a channel, in rounds of their own."""

from collections.abc import Sequence

from sfumato.transport.base import Channel, UnderWay
from sfumato.wire.messages import Message


class PartChannel(Channel):
    """A channel with some clouds of another channel: its rounds ask only these, beside the rounds of other parts.

    What it carries is counted in the whole channel's traffic, and recorded where that is. Closing it ends the sessions
    with its own clouds; closing the whole channel ends them too.

    Args:
        whole: carries the rounds.
        numbers: which of its clouds.
    """

    def __init__(self, whole: Channel, numbers: range):
        own = slice(numbers.start, numbers.stop)
        super().__init__(whole.clouds[own], whole.targets[own])
        self.traffic = whole.traffic
        self.numbers = numbers
        self.is_recorded = whole.is_recorded
        self._live = whole._live
        self._whole = whole

    def _start(self, clouds: range, requests: Sequence[Message], kinds: tuple[type[Message], ...]) -> UnderWay:
        return self._whole._start(clouds, requests, kinds)

    def _end(self, clouds: Sequence[int]) -> None:
        self._whole._end(clouds)
