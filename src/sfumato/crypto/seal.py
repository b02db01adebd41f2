"""SEAL through TenSEAL's low-level interface: loaded when first used, and objects to bytes and back.

Its ``save`` and ``load`` take names of files. They are given anonymous memory where the system has it, and else a file
in a folder that only this user may open; both are gone when the call returns.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from sfumato.crypto.parameters import CkksParameters
from sfumato.errors import Unsupported, WireError

MAGIC = b"\x5e\xa1\x10"
"""First bytes of a serialised SEAL object: two of magic number and the size of its header."""


def _import_libraries() -> tuple[Any, Any]:
    try:
        import tenseal.sealapi as seal
        import zstandard
    except ImportError as error:
        raise Unsupported("homomorphic encryption needs TenSEAL: pip install 'sfumato[he]'") from error
    return seal, zstandard


@dataclass(frozen=True)
class SealContext:
    """What SEAL precomputes from public parameters; holds no key."""

    seal: Any
    zstandard: Any
    context: Any
    encoder: Any
    evaluator: Any
    parms_ids: tuple[tuple[int, ...], ...]
    """By level: how SEAL names the modulus after so many multiplications."""
    last_primes: tuple[int, ...]
    """By level: the prime that the next multiplication drops."""
    mark: bytes
    """First five bytes of what this SEAL writes: :data:`MAGIC` and its version."""


@cache
def seal_context(parameters: CkksParameters) -> SealContext:
    """Makes SEAL's side of the parameters, once a process.

    Raises:
        Unsupported: TenSEAL is not installed, or SEAL refuses the parameters.
    """
    seal, zstandard = _import_libraries()
    made = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
    made.set_poly_modulus_degree(parameters.ring_degree)
    made.set_coeff_modulus(seal.CoeffModulus.Create(parameters.ring_degree, list(parameters.modulus_bits)))
    context = seal.SEALContext(made, True, seal.SEC_LEVEL_TYPE.TC128)
    if not context.parameters_set():
        raise Unsupported(f"SEAL refuses the CKKS parameters {parameters.name!r}: {context.parameters_error_message()}")
    at, parms_ids, primes = context.first_context_data(), [], []
    for _ in range(parameters.depth + 1):
        parms_ids.append(tuple(at.parms_id()))
        primes.append(at.parms().coeff_modulus()[-1].value())
        at = at.next_context_data()
    return SealContext(
        seal=seal,
        zstandard=zstandard,
        context=context,
        encoder=seal.CKKSEncoder(context),
        evaluator=seal.Evaluator(context),
        parms_ids=tuple(parms_ids),
        last_primes=tuple(primes),
        mark=saved(made)[:5],
    )


@contextmanager
def _passing_file(content: bytes = b"") -> Iterator[str]:
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        descriptor = os.memfd_create("sfumato", os.MFD_CLOEXEC)
        try:
            name = f"/proc/self/fd/{descriptor}"
            _write(name, content)
            yield name
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryDirectory(prefix="sfumato-") as folder:
            name = os.path.join(folder, "object")
            _write(name, content)
            yield name


def _write(name: str, content: bytes) -> None:
    with open(name, "wb") as stream:
        stream.write(content)


def saved(thing: Any) -> bytes:
    """Serialises a ciphertext, seed-compressed where it comes straight from encryption with the secret key."""
    with _passing_file() as name:
        thing.save(name)
        with open(name, "rb") as stream:
            return stream.read()


def loaded(thing: Any, context: SealContext, content: bytes) -> Any:
    """Fills a fresh SEAL object from bytes; those of others are checked before, see ``received.py``.

    Raises:
        WireError: SEAL does not take them under this context.
    """
    with _passing_file(content) as name:
        try:
            thing.load(context.context, name)
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:
            raise WireError("a ciphertext cannot be read; it was truncated, altered or made otherwise") from error
    return thing
