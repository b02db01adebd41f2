"""The client's handshake with its clouds."""

from sfumato.protocols.base import Spec
from sfumato.transport.base import Channel
from sfumato.version import VERSION
from sfumato.wire.messages import Hello, Welcome


def open_session(channel: Channel, spec: Spec, model_fingerprint: str) -> None:
    """Agrees with every cloud on protocol, spec, model and version: the first round of a run.

    Raises:
        SpecMismatch: a cloud serves another model, or knows another version or spec.
        ValueError: the channel reaches another number of clouds than the spec names.
    """
    if channel.num_clouds != spec.num_clouds:
        raise ValueError(
            f"{spec.name} is set to {spec.num_clouds} clouds and {channel.num_clouds} were given: make them agree"
        )
    hellos = [
        Hello(
            package_version=VERSION,
            protocol=spec.name,
            spec_json=spec.to_json(),
            model_fingerprint=model_fingerprint,
            cloud_index=index,
            num_clouds=spec.num_clouds,
        )
        for index in range(spec.num_clouds)
    ]
    channel.exchange(hellos, Welcome)
