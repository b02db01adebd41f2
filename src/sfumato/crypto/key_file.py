"""A secret key that outlives its process: one file that only this user may read.

::

    magic 4 | version 1 | zeros 3 | parameters 24, padded with zeros | digest 16 | the key as SEAL writes it

The digest (blake2b over all the rest) finds damage, and tells one key from another. Nothing here encrypts the file: who
reads it reads everything that was encrypted with it.
"""

import hashlib
import os
import stat
import struct
from pathlib import Path

from sfumato.crypto.parameters import CkksParameters
from sfumato.crypto.seal import loaded, saved, seal_context
from sfumato.crypto.secret_key import SecretKey
from sfumato.errors import StorageError, WireError
from sfumato.files import write_whole

_MAGIC = b"sfKY"
_VERSION = 1
_HEADER = struct.Struct("<4sB3x24s")
_DIGEST_BYTES = 16
_MOST_BYTES = 1 << 21
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_key(path: Path, key: SecretKey) -> str:
    """Writes a key to a file of its own, whole or not at all; nothing is overwritten.

    Run by: client.

    Returns:
        The file's digest, which :func:`read_key` knows the key again by; nothing of the key can be had from it.

    Raises:
        StorageError: the file exists.
    """
    if path.exists():
        raise StorageError(f"{path} exists already: keys are never overwritten, choose another folder")
    header = _HEADER.pack(_MAGIC, _VERSION, key.parameters.name.encode())
    content = saved(key._key)
    digest = _digest(header, content)
    write_whole(path, lambda stream: stream.write(header + digest + content), private=True)
    return digest.hex()


def read_key(path: Path, parameters: CkksParameters, digest: str) -> SecretKey:
    """Reads a key.

    Run by: client.

    Args:
        path: that :func:`write_key` wrote.
        parameters: of the key that is wanted.
        digest: that was returned then.

    Raises:
        StorageError: missing, readable by others, damaged, or another key.
        Unsupported: TenSEAL is not installed.
    """
    seal = seal_context(parameters)
    content = _private_content(path)
    header, found, key = (
        content[: _HEADER.size],
        content[_HEADER.size : _HEADER.size + _DIGEST_BYTES],
        content[_HEADER.size + _DIGEST_BYTES :],
    )
    if found != _digest(header, key) or header != _HEADER.pack(_MAGIC, _VERSION, parameters.name.encode()):
        raise StorageError(f"{path} is no key of this kind, or is damaged: restore it from a copy of yours")
    if found.hex() != digest:
        raise StorageError(f"{path} is the key of something else: restore the one that was made with it")
    try:
        return SecretKey(parameters, loaded(seal.seal.SecretKey(), seal, key))
    except WireError as error:
        raise StorageError(
            f"{path} holds a key that this version cannot read: install the one that wrote it"
        ) from error


def _private_content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & _OTHERS:
                raise StorageError(f"{path} can be read or changed by others: chmod 600 it, or make a new key")
            return stream.read(_MOST_BYTES)
    except OSError as error:
        raise StorageError(f"cannot read {path} ({error.strerror}): restore it from a copy of yours") from error


def _digest(header: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(header + key, digest_size=_DIGEST_BYTES).digest()
