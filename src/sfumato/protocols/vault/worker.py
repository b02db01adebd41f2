"""The worker half of ``vault``: keep ciphertexts, and combine them."""

from typing import ClassVar

import torch
from torch import Tensor

from sfumato.crypto.ckks import Ciphertexts, Values
from sfumato.crypto.envelope import MOST_CIPHERTEXTS, announced
from sfumato.crypto.parameters import parameters_named
from sfumato.crypto.seal import seal_context
from sfumato.errors import StorageError, WireError
from sfumato.protocols.base import WorkerHalf
from sfumato.protocols.serialised import as_tensor, content_of
from sfumato.protocols.vault.spec import (
    AddMark,
    Blend,
    Drop,
    Dropped,
    Get,
    Held,
    Interpolate,
    Kept,
    OpenVault,
    Put,
    Vault,
    require_handle,
)
from sfumato.protocols.vault.store import StoredVault, VaultStore
from sfumato.wire.messages import Message


class VaultWorker(WorkerHalf):
    """Serves one session on one vault; it has no key, and no use for a model.

    Run by: worker.
    Reveals: to the client, what it keeps for it, and whether it has room.
    """

    kinds: ClassVar[tuple[type[Message], ...]] = (OpenVault, Put, Blend, Interpolate, AddMark, Get, Drop)

    def __init__(self, spec: Vault, store: VaultStore):
        """Begins without a vault.

        Raises:
            Unsupported: TenSEAL is not installed here.
        """
        self._parameters = parameters_named(spec.parameters)
        seal_context(self._parameters)
        self._store = store
        self._opened: StoredVault | None = None

    def handle(self, request: Message) -> Message:
        """Opens the vault, and then serves it."""
        if isinstance(request, OpenVault):
            if self._opened is not None:
                raise WireError("a session has one vault: open another session")
            self._opened = self._store.vault(request.vault)
            return Kept()
        if self._opened is None:
            raise WireError(f"a {type(request).__name__} came before a vault was opened")
        return self._serve(self._opened, request)

    def _serve(self, vault: StoredVault, request: Message) -> Message:
        match request:
            case Put():
                vault.write(request.handle, self._checked(request))
            case Blend():
                self._combine(vault, request, _factors(request, MOST_CIPHERTEXTS * self._parameters.num_slots))
            case Interpolate():
                self._combine(vault, request, _weight(request))
            case AddMark():
                self._add(vault, request)
            case Get():
                return Held(ciphertexts=as_tensor(self._kept(vault, request.handle)[0]))
            case Drop():
                return Dropped(was_held=vault.drop(request.handle))
            case _:
                raise WireError(f"vault does not answer {type(request).__name__}")
        return Kept()

    def _checked(self, put: Put) -> bytes:
        """The bytes to keep: as they came, as they are shorter than what would be written of them."""
        if not 1 <= put.num_ciphertexts <= MOST_CIPHERTEXTS:
            raise WireError(f"a latent takes 1 to {MOST_CIPHERTEXTS} ciphertexts, not {put.num_ciphertexts}")
        content = content_of(put.ciphertexts)
        Ciphertexts.from_bytes(content, self._parameters, num_ciphertexts=put.num_ciphertexts)
        return content

    def _combine(self, vault: StoredVault, request: Blend | Interpolate, factor: Values | float) -> None:
        """``second + factor * (first - second)``: one multiplication, and one rounding by rescaling."""
        require_handle(request.into)
        if request.first == request.second:
            raise WireError("a latent combined with itself is itself: name two")
        first, second = self._read(vault, request.first), self._read(vault, request.second)
        if first.level or second.level:
            raise WireError("what came out of a blend or an interpolation cannot be multiplied again")
        try:
            apart = first.subtract(second)
            product = apart.multiply(factor) if isinstance(factor, float) else apart.multiply_each(factor)
        except ValueError as error:
            raise WireError(f"two latents do not go together: {error}") from error
        vault.write(request.into, product.add(second).to_bytes())

    def _add(self, vault: StoredVault, request: AddMark) -> None:
        require_handle(request.into)
        held = self._read(vault, request.handle)
        mark = Ciphertexts.from_bytes(content_of(request.mark), self._parameters, num_ciphertexts=len(held))
        try:
            marked = held.add(mark)
        except RuntimeError as error:
            raise WireError("a mark cancels the latent: anybody could read the sum") from error
        vault.write(request.into, marked.to_bytes())

    def _read(self, vault: StoredVault, handle: str) -> Ciphertexts:
        content, num_ciphertexts, level = self._kept(vault, handle)
        return Ciphertexts.from_bytes(content, self._parameters, num_ciphertexts=num_ciphertexts, level=level)

    def _kept(self, vault: StoredVault, handle: str) -> tuple[bytes, int, int]:
        content = vault.read(handle)
        try:
            return content, *announced(content, self._parameters)
        except WireError as error:
            raise StorageError("a latent was damaged on its disk: drop it, and put it again") from error


def _factors(blend: Blend, most: int) -> Values:
    mask = blend.mask
    if not isinstance(mask, Tensor) or mask.dtype != torch.float32 or mask.ndim != 1 or not len(mask):
        raise WireError("a mask is a list of numbers in fp32, and something else came")
    if not 1 <= blend.channels <= most // len(mask):
        raise WireError(f"a mask of {len(mask)} cells cannot be for {blend.channels} channels")
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise WireError("a mask lies between 0 and 1, and something else came")
    return mask.double().repeat(blend.channels)


def _weight(interpolate: Interpolate) -> float:
    if not 0 <= interpolate.weight <= 1:
        raise WireError("a weight lies between 0 and 1, and something else came")
    return interpolate.weight
