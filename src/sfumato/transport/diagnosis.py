"""Why a stream failed, in one sentence.

Under TLS 1.3 a client learns of a refused certificate only after it believes to be connected, and gRPC then
says no more than "unavailable". So when a stream cannot be opened, :func:`preflight` repeats the handshake
with the ``ssl`` module, which keeps the reason. A gRPC server that refuses a certificate hangs up without an
alert: then our own certificate is examined here.
"""

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from sfumato.errors import AccessRefused, SfumatoError, TransportError, WireError
from sfumato.transport.address import CloudAddress
from sfumato.transport.certificates import certificate_problem, certified_name
from sfumato.transport.keys import CLIENT_NAME, ClientKeys, certificate_name

_PREFLIGHT_SECONDS = 3.0
_BY_VERIFY_CODE = {
    9: "shows a certificate that is not valid yet: check the clocks of both machines",
    10: "shows a certificate that has expired: make new keys with `sfumato keys`",
    18: "shows a certificate of an unknown authority: it needs the keys that were made with yours",
    19: "shows a certificate of an unknown authority: it needs the keys that were made with yours",
    20: "shows a certificate of an unknown authority: it needs the keys that were made with yours",
    62: "shows the certificate of another cloud: check the order of the addresses",
}


def explain(address: CloudAddress, code: grpc.StatusCode, details: str, *, opened: bool) -> SfumatoError:
    """Turns the status of a stream into an error; nothing that the peer wrote goes into the sentence.

    Args:
        address: the cloud.
        code: gRPC's status.
        details: gRPC's own words, used to tell cases apart.
        opened: whether the cloud had accepted the session.
    """
    match code:
        case grpc.StatusCode.UNAUTHENTICATED:
            return AccessRefused(f"{address} refused our access token: use the keys that were made with its own")
        case grpc.StatusCode.PERMISSION_DENIED:
            return AccessRefused(f"{address} refused our certificate, which is not the client's")
        case grpc.StatusCode.RESOURCE_EXHAUSTED if not opened:
            return AccessRefused(f"{address} has no free session: wait, or let its operator raise --max-sessions")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return WireError(f"{address} and this side disagree on the size of a frame: install the same sfumato")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return TransportError(f"{address} ended the session because no request came for too long: start again")
        case grpc.StatusCode.UNIMPLEMENTED:
            return TransportError(f"{address} is not a sfumato cloud of this wire version")
        case grpc.StatusCode.UNAVAILABLE if "timeout" in details.lower():
            return TransportError(f"{address} stopped answering keep-alives: it is frozen, or the network is cut")
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED | grpc.StatusCode.OK:
            return TransportError(f"{address} died or ended the session: look at its log and start again")
    return TransportError(f"{address} failed with gRPC status {code.name}: look at its log")


def preflight(address: CloudAddress, keys: ClientKeys) -> TransportError | None:
    """Repeats TCP and TLS handshake to learn why a stream could not be opened; ``None`` when both work."""
    try:
        with socket.create_connection((address.host, address.port), _PREFLIGHT_SECONDS) as connection:
            return _handshake(address, keys, connection)
    except socket.gaierror:
        return TransportError(f"{address} cannot be found: no machine of that name is known here")
    except ConnectionRefusedError:
        return TransportError(f"nobody listens at {address}: start `sfumato serve` there, or check the port")
    except OSError:
        return TransportError(
            f"{address} cannot be reached: its machine is down, or the network does not let us through"
        )


def _handshake(address: CloudAddress, keys: ClientKeys, connection: socket.socket) -> TransportError | None:
    context = client_context(keys)
    try:
        with context.wrap_socket(connection, server_hostname=certificate_name(address.name)) as secured:
            secured.settimeout(_PREFLIGHT_SECONDS)
            return None if secured.recv(1) else _refused(address, keys)
    except ssl.SSLCertVerificationError as error:
        reason = _BY_VERIFY_CODE.get(error.verify_code, "shows a certificate that cannot be verified")
        return AccessRefused(f"{address} {reason}")
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            return _refused(address, keys)
        return TransportError(f"{address} does not speak TLS: something else listens there")
    except TimeoutError:
        return TransportError(f"{address} accepts connections but does not answer: it is frozen or overloaded")
    except OSError:
        return TransportError(f"{address} closes the connection during the TLS handshake: look at its log")


def _refused(address: CloudAddress, keys: ClientKeys) -> AccessRefused:
    """The cloud's certificate was right and it hung up on seeing ours; gRPC sends no reason, so look here."""
    problem = certificate_problem(keys.authority, keys.certificate, keys.key)
    if problem is None and certified_name(keys.certificate) != CLIENT_NAME:
        problem = "is not one for clients"
    return AccessRefused(
        f"{address} refused our certificate, which {problem or 'is in order: its ca.pem may be another'}"
    )


def client_context(keys: ClientKeys) -> ssl.SSLContext:
    """The client's side of mutual TLS for the ``ssl`` module."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=keys.authority.decode("ascii"))
    with _as_file(keys.certificate + keys.key) as path:
        context.load_cert_chain(path)
    context.set_alpn_protocols(["h2"])
    return context


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path to ``content``, which the ``ssl`` module insists on; on Linux it never touches a disk."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("sfumato", os.MFD_CLOEXEC)
        try:
            with suppress(InterruptedError):
                os.write(number, content)
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
        return
    with TemporaryDirectory() as directory:
        path = Path(directory) / "keys.pem"
        path.touch(mode=0o600)
        path.write_bytes(content)
        yield str(path)
