"""Looks for a secret key in bytes that leave the client; a check, run by tests and before claims."""

from collections.abc import Iterator

from sfumato.crypto.parameters import CkksParameters
from sfumato.crypto.seal import MAGIC, SealContext, loaded, seal_context
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import WireError

_WINDOW = 4
"""Coefficients of 8 bytes that are compared: 100 bits at least, which do not agree by chance."""


def holds_secret_key(content: bytes, parameters: CkksParameters, key: SecretKey | None = None) -> bool:
    """Whether the bytes hold a secret key of these parameters as SEAL writes one, or some of a key's own coefficients.

    Args:
        content: anything, such as all that was sent to a cloud.
        parameters: whose keys to look for.
        key: with it, its bare coefficients are looked for as well.

    Raises:
        Unsupported: TenSEAL is not installed.
    """
    seal = seal_context(parameters)
    return any(_is_key(piece, seal) for piece in _seal_objects(content)) or (
        key is not None and any(window in content for window in _windows(key))
    )


def _seal_objects(content: bytes) -> Iterator[bytes]:
    at = content.find(MAGIC)
    while at >= 0:
        size = int.from_bytes(content[at + 8 : at + 16], "little")
        if 16 < size <= len(content) - at:
            yield content[at : at + size]
        at = content.find(MAGIC, at + 1)


def _is_key(piece: bytes, seal: SealContext) -> bool:
    try:
        loaded(seal.seal.SecretKey(), seal, piece)
    except WireError:
        return False
    return True


def _windows(key: SecretKey) -> Iterator[bytes]:
    coefficients = key._key.data()
    num = coefficients.coeff_count()
    for at in range(0, num - _WINDOW, max(num // 64, 1)):
        yield b"".join(coefficients.data(i).to_bytes(8, "little") for i in range(at, at + _WINDOW))
