"""Where the clouds are."""

from dataclasses import dataclass

from sfumato.transport.keys import cloud_name


@dataclass(frozen=True, kw_only=True)
class CloudAddress:
    """One cloud: where it listens, and the name that its certificate must prove."""

    host: str
    port: int
    name: str

    def __post_init__(self) -> None:
        if not self.host or not 0 < self.port < 1 << 16:
            raise ValueError(f"a cloud's address is host:port with a port in [1, 65535], got {self.target!r}")

    @property
    def target(self) -> str:
        """``host:port``, an IPv6 host in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.name} ({self.target})"


def parse_addresses(text: str) -> tuple[CloudAddress, ...]:
    """Reads ``host:port,host:port``; the first is cloud-1 and must hold the keys of cloud-1.

    Raises:
        ValueError: an entry is not ``host:port``, or one appears twice.
    """
    addresses = []
    for i, entry in enumerate(text.split(",")):
        host, _, port = entry.strip().rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"clouds must be host:port,host:port,…, got {entry.strip()!r}")
        addresses.append(CloudAddress(host=host.strip("[]"), port=int(port), name=cloud_name(i)))
    if len({a.target for a in addresses}) != len(addresses):
        raise ValueError(f"a cloud appears twice in {text!r}; each strip needs a cloud of its own")
    return tuple(addresses)
