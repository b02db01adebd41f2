"""Keys on disk: one folder for the authority, one for the client, and one to hand to each operator.

::

    DIR/ca/        ca.pem ca.key                              stays at home, offline if possible
    DIR/client/    ca.pem client.pem client.key cloud-1.token cloud-2.token …
    DIR/cloud-1/   ca.pem cloud.pem cloud.key token           all that operator 1 is handed
"""

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sfumato.errors import AccessRefused
from sfumato.transport.certificates import certificate_problem, certified_name
from sfumato.transport.keys import (
    CLIENT_NAME,
    ClientKeys,
    CloudKeys,
    KeyRing,
    certificate_name,
    cloud_name,
    throw_away_keys,
)


def make_keys(directory: Path, *, clouds: int, hosts: Sequence[str] = (), days: float = 365.0) -> None:
    """Makes all keys of one deployment in a new folder; either all of it is there afterwards or nothing.

    Raises:
        ValueError: the folder holds something already, or an argument is out of range.
    """
    directory = Path(directory).absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} exists already; keys are never overwritten, choose another folder")
    ring = throw_away_keys(clouds, hosts=hosts, days=days)
    directory.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        for name, content in _files(ring).items():
            _write_private(draft / name, content)
        draft.rename(directory)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _files(ring: KeyRing) -> dict[str, bytes]:
    client = ring.client
    files = {
        "ca/ca.pem": client.authority,
        "ca/ca.key": ring.authority_key,
        "client/ca.pem": client.authority,
        "client/client.pem": client.certificate,
        "client/client.key": client.key,
    }
    for cloud in ring.clouds:
        files |= {
            f"client/{cloud.name}.token": cloud.token.encode(),
            f"{cloud.name}/ca.pem": cloud.authority,
            f"{cloud.name}/cloud.pem": cloud.certificate,
            f"{cloud.name}/cloud.key": cloud.key,
            f"{cloud.name}/token": cloud.token.encode(),
        }
    return files


def _write_private(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def load_client_keys(directory: Path, *, clouds: int) -> ClientKeys:
    """Reads the client's keys; ``directory`` is what ``make_keys`` made, or its ``client`` folder.

    Raises:
        AccessRefused: a file is missing, expired, or does not belong to the others.
    """
    directory = Path(directory)
    folder = directory / "client" if (directory / "client").is_dir() else directory
    authority, certificate, key = (_read(folder / name) for name in ("ca.pem", "client.pem", "client.key"))
    name = _check(folder, authority, certificate, key)
    if name != CLIENT_NAME:
        raise AccessRefused(f"the certificate in {folder} is for {name}, not for a client")
    tokens = tuple(_read_token(folder / f"{cloud_name(i)}.token") for i in range(clouds))
    return ClientKeys(authority=authority, certificate=certificate, key=key, tokens=tokens)


def load_cloud_keys(directory: Path) -> CloudKeys:
    """Reads one cloud's keys from the folder that its operator was handed.

    Raises:
        AccessRefused: a file is missing, expired, or does not belong to the others.
    """
    folder = Path(directory)
    authority, certificate, key = (_read(folder / name) for name in ("ca.pem", "cloud.pem", "cloud.key"))
    certified = _check(folder, authority, certificate, key)
    name = certified.removesuffix(".sfumato")
    if not re.fullmatch(r"cloud-[1-9]\d*", name) or certified != certificate_name(name):
        raise AccessRefused(f"the certificate in {folder} is for {certified}, not for a cloud")
    token = _read_token(folder / "token")
    return CloudKeys(name=name, authority=authority, certificate=certificate, key=key, token=token)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AccessRefused(
            f"cannot read {path} ({error.strerror}): give the folder that `sfumato keys` made for this party"
        ) from error


def _read_token(path: Path) -> str:
    token = _read(path).decode("ascii", "replace").strip()
    if not (16 <= len(token) <= 256 and token.isascii() and token.isprintable()):
        raise AccessRefused(f"{path} holds no access token: make new keys with `sfumato keys`")
    return token


def _check(folder: Path, authority: bytes, certificate: bytes, key: bytes) -> str:
    """Checks that the three belong together and hold today; returns the name in the certificate."""
    if problem := certificate_problem(authority, certificate, key):
        raise AccessRefused(f"the certificate in {folder} {problem}")
    return certified_name(certificate) or "nobody"
