"""Decrypted values that went back to the cloud which holds the ciphertexts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sfumato.attacks.homomorphic.paper_steps import PaperStep
from sfumato.protocols.homomorphic.index_set import Parts
from sfumato.protocols.homomorphic.updates import LinearUpdate


@dataclass(frozen=True, kw_only=True, eq=False)
class Returned:
    """All slots of one ciphertext that the cloud computed."""

    step: int
    ciphertext: int
    """Which of the step's."""
    slots: Float[Tensor, " slot"]
    """Their real parts, as they were decrypted."""


def returned_slots(steps: Sequence[PaperStep], updates: Sequence[LinearUpdate], num_slots: int) -> list[Returned]:
    """Ciphertexts of which every slot was told, those of the smallest values first: they were rounded the least.

    A value is told by the next step's input of the U-Net, or by its entries in the clear. The unused slots of a
    ciphertext that is not full decrypt to errors that are never told.
    """
    found = []
    for index, (before, after) in enumerate(pairwise(steps)):
        values, is_told = _latents_before(after, updates[index + 1])
        mask = before.hidden.mask()
        slots, told = values[mask], is_told[mask]
        found += [
            Returned(step=index, ciphertext=start // num_slots, slots=slots[start : start + num_slots])
            for start in range(0, len(slots) - num_slots + 1, num_slots)
            if bool(told[start : start + num_slots].all())
        ]
    return sorted(found, key=lambda one: float(one.slots.abs().max()))


def _latents_before(step: PaperStep, update: LinearUpdate) -> tuple[Float[Tensor, "..."], Bool[Tensor, "..."]]:
    """A step's latents as far as the cloud reads them, in fp64, and how far that is."""
    if step.unet_input is not None:
        return step.unet_input.double() / update.input_scale, torch.ones(step.hidden.shape, dtype=torch.bool)
    nothing = torch.zeros(len(step.hidden), dtype=torch.float64)
    return step.hidden.merge(Parts(nothing, step.remainder.double())), ~step.hidden.mask()
