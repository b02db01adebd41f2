"""How a packed vector of ciphertexts is written: a fixed header, then SEAL's bytes, ciphertext by ciphertext.

::

    magic 4 | version 1 | level 1 | number 2 | parameters 24, padded with zeros | size 4, a ciphertext each | digest 16

The digest (blake2b over all the rest) finds damage; against people it is nothing, as anybody can compute it.
"""

import hashlib
import struct
from collections.abc import Iterable
from typing import NamedTuple

from sfumato.crypto.parameters import PARAMETERS, CkksParameters
from sfumato.errors import WireError

MAGIC = b"sfHE"
VERSION = 1
MOST_CIPHERTEXTS = 1024
"""Of one vector: four million values at the default parameters."""

_HEADER = struct.Struct("<4sBBH24s")
_DIGEST_BYTES = 16


def _digest(*pieces: bytes) -> bytes:
    state = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for piece in pieces:
        state.update(piece)
    return state.digest()


def _sizes(num: int) -> struct.Struct:
    return struct.Struct(f"<{num}I")


def pack(parameters: CkksParameters, level: int, payloads: list[bytes]) -> bytes:
    """Writes serialised ciphertexts with what they are.

    Raises:
        ValueError: more than one vector may have.
    """
    if len(payloads) > MOST_CIPHERTEXTS:
        raise ValueError(f"a vector of {len(payloads)} ciphertexts; one may have {MOST_CIPHERTEXTS}: split it")
    head = _HEADER.pack(MAGIC, VERSION, level, len(payloads), parameters.name.encode())
    sizes = _sizes(len(payloads)).pack(*map(len, payloads))
    return b"".join([head, sizes, _digest(head, sizes, *payloads), *payloads])


def unpack(content: bytes, parameters: CkksParameters, num_ciphertexts: int, level: int) -> list[bytes]:
    """Cuts received bytes into ciphertexts, checking all but the ciphertexts themselves.

    Args:
        content: from anybody.
        parameters, num_ciphertexts, level: what is expected.

    Raises:
        WireError: anything else.
    """
    fixed = _HEADER.size + _DIGEST_BYTES + 4 * num_ciphertexts
    most = fixed + num_ciphertexts * parameters.ciphertext_bytes(level)
    if len(content) > most:
        raise WireError(f"{len(content)} bytes of ciphertexts came; {num_ciphertexts} of them have at most {most}")
    if len(content) < _HEADER.size:
        raise WireError("ciphertexts end within their header; they were truncated")
    head = content[: _HEADER.size]
    magic, version, its_level, num, name = _HEADER.unpack(head)
    if magic != MAGIC or version != VERSION:
        raise WireError("these are no ciphertexts of this version; they were altered, or install the same sfumato")
    expected = {
        "parameters": (_known(name), parameters.name),
        "a number of ciphertexts": (num, num_ciphertexts),
        "a level": (its_level, level),
    }
    for what, (found, wanted) in expected.items():
        if found != wanted:
            raise WireError(f"ciphertexts with {what} of {found!r} came; expected was {wanted!r}")
    if len(content) < fixed:
        raise WireError("ciphertexts end within their header; they were truncated")
    sizes = content[_HEADER.size : _HEADER.size + 4 * num]
    payloads = list(_cut(content[fixed:], _sizes(num).unpack(sizes)))
    if content[fixed - _DIGEST_BYTES : fixed] != _digest(head, sizes, *payloads):
        raise WireError("ciphertexts fail their digest; they were altered")
    return payloads


class Announced(NamedTuple):
    """What a packed vector says of itself."""

    num_ciphertexts: int
    level: int


def announced(content: bytes, parameters: CkksParameters) -> Announced:
    """What a vector that was kept says of itself: for a reader who has nothing else to go by, and wrote it himself.

    Raises:
        WireError: not a vector of these parameters, or not as long and with the digest that it announces.
    """
    if len(content) < _HEADER.size:
        raise WireError("ciphertexts end within their header; they were truncated")
    _, _, level, num, _ = _HEADER.unpack(content[: _HEADER.size])
    if not 1 <= num <= MOST_CIPHERTEXTS or level > parameters.depth:
        raise WireError(f"{num} ciphertexts at level {level} are announced; they were altered")
    unpack(content, parameters, num, level)
    return Announced(num, level)


def _known(name: bytes) -> str:
    text = name.rstrip(b"\0").decode("ascii", "replace")
    return text if text in PARAMETERS else "unknown"


def _cut(content: bytes, sizes: Iterable[int]) -> Iterable[bytes]:
    at = 0
    for size in sizes:
        yield content[at : at + size]
        at += size
    if at != len(content):
        raise WireError("ciphertexts are not as long as they announce; they were truncated or altered")
