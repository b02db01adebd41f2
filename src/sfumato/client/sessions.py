"""The client's handshake with its clouds, and the introduction of clouds to each other where a protocol asks for it."""

from collections.abc import Sequence
from itertools import combinations

from sfumato.client.parts import Part
from sfumato.errors import Unsupported
from sfumato.protocols.base import Spec
from sfumato.randomness import access_token
from sfumato.transport.base import Channel
from sfumato.version import VERSION
from sfumato.wire.messages import Connect, Connected, Hello, Introduced, Introduction, Welcome


def open_session(channel: Channel, spec: Spec, model_fingerprint: str) -> None:
    """Agrees with every cloud on protocol, spec, model and version: the first round of a run.

    Where the spec lets clouds meet, two more rounds introduce them and wait until they have: nothing that depends on
    prompt or picture is sent before.

    Raises:
        SpecMismatch: a cloud serves another model, or knows another version or spec.
        Unsupported: the channel is recorded, and clouds would see what does not pass through it.
        ValueError: the channel reaches another number of clouds than follow the spec.
        WorkerError: two clouds cannot reach each other.
    """
    _require_clouds(channel, spec, spec.num_own_clouds)
    if channel.is_recorded:
        require_recordable(spec)
    hellos = [
        Hello(
            package_version=VERSION,
            protocol=spec.name,
            spec_json=spec.to_json(),
            model_fingerprint=model_fingerprint,
            cloud_index=index,
            num_clouds=spec.num_clouds,
        )
        for index in range(spec.num_own_clouds)
    ]
    channel.exchange(hellos, Welcome)
    if spec.peers_of(0):
        channel.exchange(_introductions(channel, spec), Introduced)
        channel.exchange([Connect()] * spec.num_clouds, Connected)


def open_sessions(channel: Channel, parts: Sequence[Part], model_fingerprint: str) -> None:
    """Opens the sessions of a run: with all clouds, or part by part where they follow several protocols.

    Raises:
        As :func:`open_session`.
    """
    _require_clouds(channel, parts[0].spec, sum(len(part.clouds) for part in parts))
    for part in parts:
        open_session(part.channel(channel), part.spec, model_fingerprint)


def _require_clouds(channel: Channel, spec: Spec, num_clouds: int) -> None:
    if channel.num_clouds != num_clouds:
        raise ValueError(
            f"{spec.name} is set to {num_clouds} clouds and {channel.num_clouds} were given: make them agree"
        )


def require_recordable(spec: Spec) -> None:
    """Refuses to record a run in which clouds meet.

    Raises:
        Unsupported: they do.
    """
    if spec.peers_of(0):
        raise Unsupported(
            "a recording holds what passes through the client, and with borders=direct clouds see what they send each "
            "other besides: record with borders=client"
        )


def _introductions(channel: Channel, spec: Spec) -> list[Introduction]:
    """One for every cloud; each pair shares a secret that no third cloud is told."""
    run, clouds = access_token(), range(spec.num_clouds)
    secrets = {pair: access_token() for pair in combinations(clouds, 2)}
    found = []
    for own in clouds:
        peers = spec.peers_of(own)
        found.append(
            Introduction(
                run=run,
                clouds=peers,
                hosts=tuple(channel.targets[peer].host for peer in peers),
                ports=tuple(channel.targets[peer].port for peer in peers),
                secrets=tuple(secrets[min(own, peer), max(own, peer)] for peer in peers),
                first=channel.numbers.start,
            )
        )
    return found
