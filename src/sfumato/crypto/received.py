"""Serialised ciphertexts from others, checked before SEAL sees them.

A serialised ciphertext is a header and a zstd stream of this, little-endian::

    modulus 32 | in NTT form 1 | polynomials 8 | degree 8 | primes 8 | scale 8 | correction factor 8
    header 16 | number of words 8 | words: both polynomials, or one and then: header 16 | generator 1 | seed 64

SEAL inflates all of a stream before it looks at it, and each inner header may announce a compressed stream of its own:
a few kilobytes can take all memory. So it is inflated here, to one of the two lengths that it can have, and everything
but words and seed has to be what the parameters give, to the byte.
"""

import struct
from typing import Any, NamedTuple

from sfumato.crypto.parameters import CkksParameters
from sfumato.crypto.seal import SealContext, loaded, seal_context
from sfumato.errors import WireError

_HEADER_BYTES = 16
_PLAIN, _ZSTD = 0, 2
_BLAKE2XB = 1
_SEED_BYTES = 64


def read_ciphertext(payload: bytes, parameters: CkksParameters, level: int) -> Any:
    """Makes a ciphertext of SEAL from bytes of anybody.

    Raises:
        WireError: not a ciphertext of these parameters at this level, or one that is not encrypted.
        Unsupported: TenSEAL is not installed.
    """
    seal = seal_context(parameters)
    content = _inflated(payload, parameters, level, seal)
    ciphertext = loaded(seal.seal.Ciphertext(), seal, _header(seal, _PLAIN, len(content)) + content)
    if ciphertext.is_transparent():
        raise WireError("a ciphertext is not encrypted: anybody can read it")
    return ciphertext


def _header(seal: SealContext, compression: int, size: int) -> bytes:
    """In front of so many bytes."""
    return seal.mark + struct.pack("<BHQ", compression, 0, _HEADER_BYTES + size)


class _Form(NamedTuple):
    """What an inflated ciphertext is, but for its words and seed."""

    start: bytes
    word_bytes: int
    end: bytes
    """Before the seed; empty without one."""

    @property
    def length(self) -> int:
        return len(self.start) + self.word_bytes + (len(self.end) + _SEED_BYTES if self.end else 0)

    def fits(self, content: bytes) -> bool:
        return content.startswith(self.start) and content.startswith(self.end, len(self.start) + self.word_bytes)


def _forms(parameters: CkksParameters, level: int, seal: SealContext) -> dict[int, _Form]:
    """By length: whole, and with a seed."""
    num_primes = len(parameters.modulus_bits) - 1 - level
    start = struct.pack("<4QB", *seal.parms_ids[level], 1)
    start += struct.pack("<QQQdQ", 2, parameters.ring_degree, num_primes, parameters.scale, 1)
    forms = []
    for num_polynomials, end in ((2, b""), (1, _header(seal, _PLAIN, 1 + _SEED_BYTES) + bytes([_BLAKE2XB]))):
        num_words = num_polynomials * num_primes * parameters.ring_degree
        before = start + _header(seal, _PLAIN, 8 + 8 * num_words) + struct.pack("<Q", num_words)
        forms.append(_Form(before, 8 * num_words, end))
    return {form.length: form for form in forms}


def _inflated(payload: bytes, parameters: CkksParameters, level: int, seal: SealContext) -> bytes:
    forms, stream = _forms(parameters, level, seal), payload[_HEADER_BYTES:]
    if len(payload) > parameters.ciphertext_bytes(level) or payload[:_HEADER_BYTES] != _header(
        seal, _ZSTD, len(stream)
    ):
        raise WireError("a ciphertext's header does not describe what follows; it was truncated, altered or oversized")
    zstandard = seal.zstandard
    try:
        announced = zstandard.get_frame_parameters(stream).content_size
        if announced not in forms:
            raise WireError("a ciphertext would inflate to another size than its parameters give; it was altered")
        content: bytes = zstandard.ZstdDecompressor().decompress(stream, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise WireError("a ciphertext's compressed stream is broken; it was truncated or altered") from error
    if len(content) != announced or not forms[announced].fits(content):
        raise WireError("a ciphertext is of another modulus, level, scale or form than expected; it was altered")
    return content
