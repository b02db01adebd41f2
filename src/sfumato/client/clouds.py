"""Where the clouds are: what callers say about them, and what a pipeline needs of them."""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from sfumato.models.folder import ModelFolder
from sfumato.protocols.base import Spec
from sfumato.protocols.specs import find_spec
from sfumato.transport.base import Channel


class Clouds(Protocol):
    """Where the clouds are: local processes, remote hosts, or this process."""

    def open_channel(self) -> AbstractContextManager[Channel]:
        """Opens a session with every cloud; closed at the end of the run."""
        ...

    def close(self) -> None:
        """Ends what this object started."""
        ...


def spec_for(protocol: str | Spec, clouds: int | str | Clouds | None) -> Spec:
    """Makes the spec, with as many clouds as were given.

    Raises:
        ValueError: unknown protocol, or a spec that names another number of clouds.
    """
    num_clouds = clouds if isinstance(clouds, int) else len(clouds.split(",")) if isinstance(clouds, str) else None
    if isinstance(protocol, str):
        kind = find_spec(protocol)
        return kind() if num_clouds is None else kind(num_clouds=num_clouds)
    if num_clouds is not None and num_clouds != protocol.num_clouds:
        raise ValueError(
            f"the spec names {protocol.num_clouds} clouds and clouds={clouds!r} gives {num_clouds}: make them agree"
        )
    return replace(protocol)


def find_clouds(clouds: int | str | Clouds | None, spec: Spec, model: ModelFolder, keys: str | Path | None) -> Clouds:
    """Starts local clouds, addresses remote ones, or passes an object through.

    Raises:
        ValueError: addresses without keys, or damaged addresses.
        TransportError: local clouds did not start.
    """
    if isinstance(clouds, str):
        from sfumato.client.remote_clouds import RemoteClouds

        if keys is None:
            raise ValueError("remote clouds need keys: give the folder that 'sfumato keys' made")
        return RemoteClouds(clouds, Path(keys))
    if clouds is None or isinstance(clouds, int):
        from sfumato.client.local_clouds import LocalClouds

        return LocalClouds(model.path, spec.num_clouds).start()
    return clouds
