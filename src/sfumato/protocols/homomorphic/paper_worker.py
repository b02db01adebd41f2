"""The worker half of mode=paper: a scheduler's linear update of a latent that is encrypted in part."""

import math
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn

from sfumato.crypto.envelope import MOST_CIPHERTEXTS
from sfumato.crypto.seal import seal_context
from sfumato.errors import Unsupported, WireError
from sfumato.models.sampling import guided
from sfumato.protocols.base import WorkerHalf
from sfumato.protocols.homomorphic.hybrid import HybridTensor, received
from sfumato.protocols.homomorphic.index_set import IndexSet
from sfumato.protocols.homomorphic.messages import HybridLatent, HybridUpdated
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.readable import Condition
from sfumato.protocols.replies import is_finite
from sfumato.protocols.serialised import as_tensor, content_of
from sfumato.protocols.whole_unet import WholeUnet, require_numbers
from sfumato.tensors import Latent
from sfumato.wire.messages import Message

MOST_ENTRIES = 2**26
"""Of all predictions that a session keeps; a step may combine all of them."""


class PaperWorker(WorkerHalf):
    """Updates one latent after another, and predicts as well where the spec says so; it has no key.

    Run by: worker.
    Reveals: to the client, its latents after each step.
    """

    kinds: ClassVar[tuple[type[Message], ...]] = (Condition, HybridLatent)

    def __init__(self, spec: Homomorphic, unet: nn.Module):
        """Begins without conditioning or predictions.

        Raises:
            Unsupported: TenSEAL is not installed here.
        """
        self._parameters = spec.ckks
        seal_context(self._parameters)
        self._unet = WholeUnet(unet) if spec.denoiser == "cloud" else None
        self._predictions: list[Latent] = []
        self._num_steps = 0

    def handle(self, request: Message) -> Message:
        """Stores conditioning, or makes a step."""
        match request:
            case Condition() if self._unet is not None:
                return self._unet.tell(request)
            case HybridLatent():
                return self._step(request)
        raise WireError(f"homomorphic with these settings does not answer {type(request).__name__}")

    def _step(self, request: HybridLatent) -> HybridUpdated:
        if request.step != self._num_steps:
            raise WireError(f"step {request.step} came where step {self._num_steps} was due")
        if (request.step + 1) * prod(request.shape) > MOST_ENTRIES:
            raise WireError(
                f"a session keeps predictions of {MOST_ENTRIES} entries in all: make fewer or smaller pictures"
            )
        held = self._held(request)
        self._predictions.append(self._prediction(request))
        addend = self._addend(request)
        try:
            updated = held.updated(request.factor, addend)
        except (ValueError, Unsupported) as error:
            raise WireError(f"the update of step {request.step} cannot be computed: {error}") from error
        self._num_steps += 1
        return HybridUpdated(ciphertexts=as_tensor(updated.ciphertexts.to_bytes()), remainder=updated.remainder)

    def _held(self, request: HybridLatent) -> HybridTensor:
        shape = request.shape
        if len(shape) != 4 or min(shape) < 1 or prod(shape) > MOST_CIPHERTEXTS * self._parameters.num_slots:
            raise WireError(f"a latent of shape {shape} came; it has four axes and fits {MOST_CIPHERTEXTS} ciphertexts")
        positions = request.positions
        if positions.ndim != 1 or positions.dtype != torch.int32:
            raise WireError(f"positions of format {positions.dtype} came where a list of 32-bit integers was due")
        require_numbers(request.remainder, (prod(shape) - len(positions),))
        try:
            index_set = IndexSet(shape=shape, positions=positions.long())
            return received(content_of(request.ciphertexts), request.remainder, index_set, self._parameters)
        except ValueError as error:
            raise WireError(f"a latent came that is not put together: {error}") from error

    def _prediction(self, request: HybridLatent) -> Latent:
        if self._unet is None:
            return _sound(request.prediction, request.shape)
        latent = _sound(request.unet_input, request.shape)
        prediction = self._unet.predict(latent, request.timestep)
        return guided(prediction, request.guidance_scale) if len(prediction) == 2 * len(latent) else prediction

    def _addend(self, request: HybridLatent) -> Latent:
        coefficients = request.coefficients
        if not all(map(math.isfinite, (request.factor, *coefficients))):
            raise WireError("an update came with numbers that are not finite")
        if len(coefficients) != len(self._predictions):
            raise WireError(f"{len(self._predictions)} predictions are to be combined with {len(coefficients)} numbers")
        if any(p.shape != request.shape for p in self._predictions):
            raise WireError("the latents of a run changed their shape: open another session")
        return torch.stack([c * p.double() for c, p in zip(coefficients, self._predictions, strict=True)]).sum(dim=0)


def _sound(latent: Tensor | None, shape: tuple[int, ...]) -> Latent:
    require_numbers(latent, shape)
    assert latent is not None
    if not is_finite(latent):
        raise WireError("a latent came with numbers that are not finite")
    return latent
