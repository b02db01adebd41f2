"""Sessions of one cloud: from the handshake to the worker half that answers."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import torch
from torch import nn

from sfumato.errors import SfumatoError, SpecMismatch, Unsupported, WireError
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_unet, meta_unet
from sfumato.protocols.base import Spec, WorkerHalf
from sfumato.protocols.specs import find_served
from sfumato.protocols.vault.store import VaultStore
from sfumato.transport.peers import Peers
from sfumato.version import VERSION
from sfumato.wire.messages import Connect, Connected, Hello, Introduced, Introduction, Message, Refusal, Welcome
from sfumato.worker.catalog import service_half, worker_half

_log = logging.getLogger("sfumato.worker")

DEFAULT_IDLE_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """The U-Net that a cloud computes with; one per process, shared by its sessions, which never change it."""

    unet: nn.Module
    fingerprint: str
    folder: ModelFolder | None = None
    """Where the rest of the model is; None where there is none to be had."""


def serve_model(model: ModelFolder, dtype: torch.dtype = torch.float32) -> ServedModel:
    """Loads the U-Net for serving.

    Weights whose file already has ``dtype`` are mapped; others are converted once into a cache file that every
    process on this host maps, so that n clouds on one machine hold one copy.

    Raises:
        ModelError: files are missing or damaged.
    """
    cache = Path(platformdirs.user_cache_dir("sfumato")) / "weights"
    unet = load_unet(model, dtype=dtype, shared_under=cache)
    return ServedModel(unet=unet, fingerprint=model.unet_fingerprint, folder=model)


def serve_meta(model: ModelFolder) -> ServedModel:
    """Serves the U-Net on the meta device: shapes and bytes without weights, for counting."""
    return ServedModel(unet=meta_unet(model), fingerprint="0" * 64)


class CloudSession:
    """One client's session: a handshake, then requests of the protocol it agreed on.

    Run by: worker.

    Args:
        served: the model; None in a cloud that only keeps vaults.
        idle_seconds: told to the client.
        peers: what to meet other clouds with, where the protocol asks for it.
        vaults: where latents are kept; None in a cloud that keeps none.
    """

    def __init__(
        self,
        served: ServedModel | None,
        idle_seconds: float = DEFAULT_IDLE_SECONDS,
        *,
        peers: Peers | None = None,
        vaults: VaultStore | None = None,
    ):
        self._served = served
        self._idle_seconds = idle_seconds
        self._peers = peers
        self._vaults = vaults
        self._half: WorkerHalf | None = None
        self._meets: tuple[int, ...] = ()
        # What has to come before the protocol's own messages.
        self._first: list[type[Message]] = [Hello]

    @property
    def kinds(self) -> tuple[type[Message], ...]:
        """The kinds of message that may come next."""
        if self._half is None or self._first:
            return tuple(self._first[:1])
        return self._half.kinds

    def handle(self, request: Message) -> Message:
        """Answers one request; what goes wrong becomes a :class:`Refusal` with one public sentence."""
        try:
            if self._half is None:
                return self._open(request)
            return self._meet(request) if self._first else self._half.handle(request)
        except SfumatoError as error:
            return Refusal(error=type(error).__name__, sentence=str(error))
        except Exception as error:
            _log.error("a %s could not be computed: %s", type(request).__name__, type(error).__name__)
            return Refusal(
                error="WorkerError",
                sentence=f"it could not compute a {type(request).__name__}; the request may not fit the model",
            )

    def _open(self, hello: Message) -> Welcome:
        if not isinstance(hello, Hello):
            raise WireError("a session starts with a Hello")
        if hello.package_version != VERSION:
            raise SpecMismatch(
                f"it runs sfumato {VERSION}, the client {hello.package_version}: install the same version"
            )
        try:
            spec = find_served(hello.protocol).from_json(hello.spec_json)
        except ValueError as error:
            raise SpecMismatch(f"it does not serve this: {error}") from error
        if hello.num_clouds != spec.num_clouds:
            raise SpecMismatch(f"the client counts {hello.num_clouds} clouds and its spec {spec.num_clouds}")
        if not 0 <= hello.cloud_index < spec.num_own_clouds:
            raise SpecMismatch(f"cloud index {hello.cloud_index} is outside the spec's {spec.num_own_clouds} clouds")
        half = self._computing(spec, hello) if spec.uses_model else service_half(spec, self._vaults)
        self._half, self._first = half, [Introduction, Connect] if self._meets else []
        return Welcome(package_version=VERSION, idle_seconds=self._idle_seconds)

    def _computing(self, spec: Spec, hello: Hello) -> WorkerHalf:
        """The half of a protocol that runs the model, once the clouds that it meets are known."""
        served = self._served
        if served is None:
            raise SpecMismatch("it serves no model, and only keeps vaults: use another cloud")
        if hello.model_fingerprint != served.fingerprint:
            raise SpecMismatch(
                f"it serves another model (fingerprint {served.fingerprint[:12]}, "
                f"asked for {hello.model_fingerprint[:12]}): give both sides the same model folder"
            )
        self._index, self._meets = hello.cloud_index, spec.peers_of(hello.cloud_index)
        if self._meets and self._peers is None:
            raise Unsupported("it has no way to meet other clouds: choose settings with which clouds do not")
        unet: Any = served.unet
        return worker_half(spec, unet, hello.cloud_index, served.folder, self._peers if self._meets else None)

    def _meet(self, request: Message) -> Message:
        """Takes the introduction of the other clouds, and then the word to open streams to them."""
        if not isinstance(request, self._first[0]):
            raise WireError(f"a {type(request).__name__} came where a {self._first[0].__name__} was due")
        assert self._peers is not None
        self._first.pop(0)
        if isinstance(request, Introduction):
            given = (request.clouds, *map(len, (request.hosts, request.ports, request.secrets)))
            if given != (self._meets, *[len(self._meets)] * 3):
                raise WireError("an introduction names other clouds than those that the spec lets this one meet")
            self._peers.expect(request, self._index)
            return Introduced()
        self._peers.connect()
        return Connected()
