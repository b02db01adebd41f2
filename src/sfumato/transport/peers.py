"""The seam between one cloud and the others of its run, for protocols in which clouds meet without the client."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TypeVar

from sfumato.wire.messages import Introduction, Message

Found = TypeVar("Found", bound=Message)


class Peers(ABC):
    """The clouds that one cloud was introduced to by its client, and nobody else.

    Run by: worker, from the one thread of its session.
    """

    @abstractmethod
    def expect(self, introduction: Introduction, own: int) -> None:
        """Prepares for the clouds of an introduction, which was checked against the spec; ``own`` is this one's index.

        Here and in :meth:`exchange` clouds are counted as the spec counts them.

        Raises:
            AccessRefused: this cloud's own certificate does not let it open streams.
            WireError: the run is known already, or an address cannot be.
        """

    @abstractmethod
    def connect(self) -> None:
        """Opens a stream to each of them, or waits for theirs.

        Raises:
            TransportError: one cannot be reached, or is not who it should be; names it.
        """

    @abstractmethod
    def exchange(self, sent: Mapping[int, Message], due: Mapping[int, int], kind: type[Found]) -> dict[int, Found]:
        """Sends one message to each of some clouds and waits for one from each: all at once.

        Args:
            sent: by cloud.
            due: by cloud that a message must come from, the most bytes that its tensors may take.
            kind: of what comes.

        Raises:
            TransportError: a cloud is gone, or sent nothing in time; names it.
            WireError: what came is damaged, larger than ``due``, or of another kind; names who sent it.
        """

    @abstractmethod
    def take_sent_bytes(self) -> int:
        """Bytes that this cloud sent to others since the last call, frames included."""
