"""What a transcript of ``homomorphic`` with ``mode=paper`` holds, step by step."""

from dataclasses import dataclass
from itertools import product

from jaxtyping import Float
from torch import Tensor

from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput, Unsupported
from sfumato.models.folder import ModelFolder
from sfumato.models.sampling import SCHEDULERS, make_scheduler
from sfumato.protocols.homomorphic.index_set import IndexSet
from sfumato.protocols.homomorphic.messages import HybridLatent, HybridUpdated
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.homomorphic.updates import LinearUpdate, linear_updates
from sfumato.protocols.serialised import content_of
from sfumato.tensors import Latent
from sfumato.wire.transcript import Entry

_SAME = 1e-9
"""By how much coefficients may differ; both sides compute them alike."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PaperStep:
    """One step, as the cloud saw it."""

    hidden: IndexSet
    """Which entries are encrypted."""
    ciphertexts: bytes
    """Of the latents before the step; serialised."""
    remainder: Float[Tensor, " public"]
    """The other entries before the step."""
    factor: float
    coefficients: tuple[float, ...]
    prediction: Latent | None
    unet_input: Latent | None
    timestep: float
    guidance_scale: float
    updated_ciphertexts: bytes
    """Of the latents after the step, which the cloud computed."""
    updated_remainder: Float[Tensor, " public"]


def paper_steps(view: RunView) -> tuple[PaperStep, ...]:
    """Every step of a run.

    Raises:
        LacksInput: another protocol or mode, or the run was broken off.
        WireError: the recording holds something else than bytes in place of ciphertexts.
    """
    spec = view.spec
    if not isinstance(spec, Homomorphic) or spec.mode != "paper":
        setting = f"{spec.name} with mode={spec.mode}" if isinstance(spec, Homomorphic) else spec.name
        raise LacksInput(
            f"the transcript, of {setting}, holds no latents that are encrypted in part and updated in the clear: this "
            "attack is on homomorphic with mode=paper"
        )
    entries = list(view.entries(HybridLatent.__name__, HybridUpdated.__name__))
    requests, replies = entries[::2], entries[1::2]
    if not replies or len(requests) != len(replies) or any(t.is_truncated for t in view.transcripts):
        raise LacksInput("the transcript holds no run that was finished: record one that is not broken off")
    return tuple(_step(a, b) for a, b in zip(requests, replies, strict=True))


def _step(request: Entry, reply: Entry) -> PaperStep:
    values, tensors = request.values, request.tensors
    return PaperStep(
        hidden=IndexSet(shape=tuple(values["shape"]), positions=_present(tensors["positions"]).long()),
        ciphertexts=content_of(_present(tensors["ciphertexts"])),
        remainder=_present(tensors["remainder"]),
        factor=values["factor"],
        coefficients=tuple(values["coefficients"]),
        prediction=tensors["prediction"],
        unet_input=tensors["unet_input"],
        timestep=values["timestep"],
        guidance_scale=values["guidance_scale"],
        updated_ciphertexts=content_of(_present(reply.tensors["ciphertexts"])),
        updated_remainder=_present(reply.tensors["remainder"]),
    )


def _present(tensor: Tensor | None) -> Tensor:
    assert tensor is not None, "a field that is never absent"
    return tensor


def known_updates(steps: tuple[PaperStep, ...], model: ModelFolder) -> tuple[LinearUpdate, ...]:
    """The scheduler's steps in full, found by trying which scheduler has these factors and coefficients.

    Raises:
        LacksInput: none that is known.
    """
    # PLMS makes one call more than it has steps.
    for name, num in product(SCHEDULERS, (len(steps), len(steps) - 1)):
        try:
            updates = linear_updates(make_scheduler(model, name), num) if num else ()
        except Unsupported:
            continue
        if len(updates) == len(steps) and all(_agree(u, s) for u, s in zip(updates, steps, strict=True)):
            return updates
    raise LacksInput(f"the transcript holds no updates of a known scheduler ({', '.join(SCHEDULERS)}) with this model")


def _agree(update: LinearUpdate, step: PaperStep) -> bool:
    ours, theirs = (update.factor, *update.coefficients), (step.factor, *step.coefficients)
    return len(ours) == len(theirs) and all(
        abs(a - b) <= _SAME * max(1, abs(a)) for a, b in zip(ours, theirs, strict=True)
    )
