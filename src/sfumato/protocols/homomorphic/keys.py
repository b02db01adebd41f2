"""The client's keys: one a run."""

from collections.abc import Iterator
from contextlib import contextmanager

from sfumato.crypto.parameters import CkksParameters
from sfumato.crypto.secret_key import SecretKey


@contextmanager
def fresh_key(parameters: CkksParameters) -> Iterator[SecretKey]:
    """A secret key for one run, destroyed at its end, however it ends.

    Run by: client.

    Raises:
        Unsupported: TenSEAL is not installed.
    """
    key = SecretKey(parameters)
    try:
        yield key
    finally:
        key.destroy()
