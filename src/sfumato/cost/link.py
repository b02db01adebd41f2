"""The client's network link, and how long bytes take on it."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Link:
    """A link as the client sees it; all clouds together share it.

    Args:
        up_mbit, down_mbit: rates in 10**6 bits a second.
        rtt_milliseconds: round-trip time to the clouds.

    Raises:
        ValueError: a rate is not positive, or the round-trip time is negative.
    """

    up_mbit: float
    down_mbit: float
    rtt_milliseconds: float

    def __post_init__(self) -> None:
        if not (self.up_mbit > 0 and self.down_mbit > 0 and self.rtt_milliseconds >= 0):
            raise ValueError(
                f"a link needs positive rates and a round-trip time of at least 0, got {self}: "
                "give UP/DOWN/RTT in Mbit/s, Mbit/s and ms"
            )

    def __str__(self) -> str:
        return f"{self.up_mbit:g}/{self.down_mbit:g} Mbit/s, {self.rtt_milliseconds:g} ms"

    def up_seconds(self, sent_bytes: float) -> float:
        """Time to upload."""
        return sent_bytes * 8 / (self.up_mbit * 1e6)

    def down_seconds(self, received_bytes: float) -> float:
        """Time to download."""
        return received_bytes * 8 / (self.down_mbit * 1e6)

    def round_seconds(self, sent_bytes: float, received_bytes: float) -> float:
        """Time of one round: a round trip and both transfers, one after the other.

        Clouds that share a link have their requests at about the same time, and none answers before.

        Args:
            sent_bytes, received_bytes: all clouds together.
        """
        return self.rtt_milliseconds / 1e3 + self.up_seconds(sent_bytes) + self.down_seconds(received_bytes)


FIVE_G = Link(up_mbit=81.14, down_mbit=340.56, rtt_milliseconds=20)
"""Average 5G in China, fourth quarter of 2023.

Source: the rates are those of the PPIDM paper, section V.E; it names no round-trip time, and 20 ms is ours.
"""

_NAMED = {"5g": FIVE_G}
_NUMBER = r"(\d+(?:\.\d+)?)"
_CUSTOM = re.compile(f"{_NUMBER}/{_NUMBER}/{_NUMBER}")


def parse_link(text: str) -> Link:
    """Reads a link from the command line: a name, or ``UP/DOWN/RTT`` in Mbit/s, Mbit/s and ms.

    Raises:
        ValueError: neither.
    """
    if text.lower() in _NAMED:
        return _NAMED[text.lower()]
    if not (match := _CUSTOM.fullmatch(text)):
        raise ValueError(
            f"link must be {' or '.join(_NAMED)} or UP/DOWN/RTT in Mbit/s, Mbit/s and ms, such as 100/400/15, "
            f"got {text!r}"
        )
    up, down, rtt = (float(g) for g in match.groups())
    return Link(up_mbit=up, down_mbit=down, rtt_milliseconds=rtt)
