"""The secret key from decrypted values that go back to the holder of the ciphertexts.

A decryption is ``c0 + c1 * s``, errors included, and who is told its slots can round them to the polynomial itself,
exactly. Only the real parts are told, so with ``s'(X) = s(1/X)`` a ciphertext gives, at each pair of inverse roots of
``X^N + 1`` modulo a prime, one equation in two unknowns::

    c1 * s + c1' * s' = m + m' - c0 - c0'

and two ciphertexts of one key give both.

Source: Li and Micciancio, "On the security of homomorphic encryption on approximate numbers", EUROCRYPT 2021, IACR
2020/1533, section 4; that real parts are enough is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from sfumato.attacks.homomorphic.base import PaperAttack, PartlyHidden
from sfumato.attacks.homomorphic.paper_steps import PaperStep, known_updates, paper_steps
from sfumato.attacks.homomorphic.prior import mean_guess
from sfumato.attacks.homomorphic.returned import Returned, returned_slots
from sfumato.attacks.view import RunView
from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.encoding import Vector, real_slots, symmetric_coefficients
from sfumato.crypto.ntt import centred, coefficients_of, in_order, values_of
from sfumato.crypto.parameters import CkksParameters
from sfumato.crypto.words import Residues, first_prime, polynomials_of
from sfumato.errors import LacksInput
from sfumato.protocols.base import setting
from sfumato.protocols.homomorphic.index_set import Parts
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.tensors import Latent

_UPDATED_LEVEL = 1


@dataclass(frozen=True, kw_only=True)
class KeyRecovery(PaperAttack):
    """Solves for the key, and decrypts with it what was never told: the latents after the last step.

    It needs two ciphertexts of which every slot went back: with ``denoiser=cloud`` full ones, so all entries
    encrypted, or several pictures in one run.

    Run by: attacker.
    """

    name: ClassVar[str] = "key"
    needs: ClassVar[str] = "homomorphic, mode=paper: two full ciphertexts whose decrypted values went back"

    samples: int = setting(24, "pictures that the attacker makes itself, to guess without the transcript")

    def run(self, view: RunView) -> PartlyHidden:
        """The last latents, decrypted.

        Raises:
            LacksInput: also where what went back is too coarse to be rounded.
            Unsupported: TenSEAL is not installed.
        """
        steps = paper_steps(view)
        assert isinstance(view.spec, Homomorphic), "as the steps were read"
        parameters = view.spec.ckks
        told = returned_slots(steps, known_updates(steps, view.model), parameters.num_slots)
        if len(told) < 2:
            raise LacksInput(
                "the transcript holds no two full ciphertexts whose decrypted values all went back to the cloud; they "
                "do with denoiser=cloud where selection=all, or several pictures, fill a ciphertext"
            )
        one, other = (_equation(steps, returned, parameters) for returned in told[:2])
        key = _Key.solved(one, other, parameters)
        if not key.is_ternary:
            raise LacksInput(
                f"the transcript holds decrypted values that are too coarse for CKKS parameters {parameters.name!r}: "
                "rounding them does not give what was encrypted, and no key follows"
            )
        return PartlyHidden(
            latents=_last_latents(steps[-1], key),
            was_hidden=steps[-1].hidden.mask(),
            finding=f"all {parameters.ring_degree} coefficients of the secret key{_checked(key, steps, told[2:])}",
        )

    def prior(self, view: RunView) -> PartlyHidden:
        """The mean of pictures of its own."""
        return mean_guess(view, self.samples)


class _Equation(NamedTuple):
    """``factor * s + reversed factor * s' = right``, by values in order."""

    factor: Residues
    right: Residues


def _updated(step: PaperStep, parameters: CkksParameters) -> Ciphertexts:
    num = parameters.num_ciphertexts(len(step.hidden))
    return Ciphertexts.from_bytes(step.updated_ciphertexts, parameters, num_ciphertexts=num, level=_UPDATED_LEVEL)


def _equation(steps: Sequence[PaperStep], told: Returned, parameters: CkksParameters) -> _Equation:
    prime = first_prime(parameters)
    first, second = map(in_order, polynomials_of(_updated(steps[told.step], parameters), told.ciphertext))
    rounded = np.rint(symmetric_coefficients(told.slots.numpy() * parameters.scale)).astype(np.int64).astype(object)
    return _Equation(second, (values_of(rounded % prime, prime) - first - first[::-1]) % prime)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Key:
    """What was solved for, modulo the first prime; a key, if it is ternary."""

    values: Residues
    is_ternary: bool
    parameters: CkksParameters

    @classmethod
    def solved(cls, one: _Equation, other: _Equation, parameters: CkksParameters) -> "_Key":
        """Cramer's rule at every root."""
        prime = first_prime(parameters)
        determinant = (one.factor * other.factor[::-1] - other.factor * one.factor[::-1]) % prime
        # Zero at some root happens once in hundreds of thousands of keys; the key is then not found.
        inverse = np.array([pow(d, -1, prime) if d else 0 for d in determinant], dtype=object)
        values = (one.right * other.factor[::-1] - other.right * one.factor[::-1]) * inverse % prime
        coefficients = centred(coefficients_of(values, prime), prime)
        return cls(values=values, is_ternary=bool((np.abs(coefficients) <= 1).all()), parameters=parameters)

    def slots(self, ciphertexts: Ciphertexts, index: int) -> Vector:
        """Decrypts one ciphertext; its coefficients must be below half of the first prime, as latents' are."""
        prime = first_prime(self.parameters)
        first, second = map(in_order, polynomials_of(ciphertexts, index))
        message = coefficients_of((first + second * self.values) % prime, prime)
        return real_slots(centred(message, prime)) / self.parameters.scale


def _checked(key: _Key, steps: Sequence[PaperStep], told: Sequence[Returned]) -> str:
    """How well the key decrypts ciphertexts that it was not solved from, and whose slots are known."""
    if not told:
        return ""
    slots = [key.slots(_updated(steps[one.step], key.parameters), one.ciphertext) for one in told]
    largest = max(np.abs(a - one.slots.numpy()).max() for a, one in zip(slots, told, strict=True))
    return f"; it decrypts {len(told)} other ciphertexts to what went back, within {largest:.0e}"


def _last_latents(step: PaperStep, key: _Key) -> Latent:
    ciphertexts = _updated(step, key.parameters)
    slots = [key.slots(ciphertexts, index) for index in range(len(ciphertexts))]
    hidden = torch.from_numpy(np.concatenate(slots)[: len(step.hidden)])
    return step.hidden.merge(Parts(hidden, step.updated_remainder.float()))
