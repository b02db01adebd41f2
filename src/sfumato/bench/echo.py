"""Clouds that send back what they get: the network without any computing."""

import sys
from dataclasses import dataclass
from typing import NoReturn

from torch import Tensor

from sfumato.transport.nursery import NurseryOrder
from sfumato.wire.messages import Message
from sfumato.worker.prefork import run
from sfumato.worker.service import SessionFactory

ECHO_NURSERY = (sys.executable, "-m", "sfumato.bench.echo")
"""Command for :class:`~sfumato.client.local_clouds.LocalClouds`."""


@dataclass(frozen=True, kw_only=True)
class Echo(Message):
    """Asks for itself.

    Reveals: all of it.
    """

    payload: Tensor


class EchoSession:
    """Answers every message with the same message."""

    kinds: tuple[type[Message], ...] = (Echo,)

    def handle(self, message: Message) -> Message:
        """Returns its argument."""
        return message


def _prepare(_: NurseryOrder) -> SessionFactory:
    return lambda _: EchoSession()


def main() -> NoReturn:
    """Entry of ``python -m sfumato.bench.echo``: a nursery of echoing clouds."""
    sys.exit(run(_prepare))


if __name__ == "__main__":
    main()
