"""Who may talk to whom: a private authority, certificates both ways, and one access token per cloud.

A certificate of cloud ``i`` is good for the name ``cloud-i.sfumato``, as a server and, for clouds that meet, as a
client under that name; the client's is good as a client only. So operator 1 cannot stand in for cloud 2, nor open a
session there: that takes the client's name. The folder ``cloud-i`` is all that operator ``i`` is ever handed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sfumato.randomness import access_token

CLIENT_NAME = "client.sfumato"
_CLOCK_SKEW = timedelta(minutes=5)


def cloud_name(index: int) -> str:
    """The name of a cloud in messages and folders; ``index`` counts from 0, names from 1."""
    return f"cloud-{index + 1}"


def certificate_name(cloud: str) -> str:
    """The name that the certificate of a cloud must carry."""
    return f"{cloud}.sfumato"


@dataclass(frozen=True, kw_only=True)
class ClientKeys:
    """What the client needs to reach every cloud; nothing secret shows in its repr."""

    authority: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    tokens: tuple[str, ...] = field(repr=False)
    """One per cloud, in order."""


@dataclass(frozen=True, kw_only=True)
class CloudKeys:
    """What one cloud needs to be reached; nothing secret shows in its repr."""

    name: str
    authority: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class KeyRing:
    """All keys of one deployment. The authority's own key can sign more clouds; without it nothing can."""

    authority_key: bytes = field(repr=False)
    client: ClientKeys
    clouds: tuple[CloudKeys, ...]


def throw_away_keys(num_clouds: int, *, hosts: Sequence[str] = (), days: float = 7.0) -> KeyRing:
    """Makes keys for a client and its clouds in memory.

    Args:
        num_clouds: how many clouds.
        hosts: none, or one host name or address per cloud, for its certificate, beside its fixed name.
        days: how long the certificates hold.

    Raises:
        ValueError: no clouds, a validity that is not positive, or another number of hosts than clouds.
    """
    if num_clouds < 1:
        raise ValueError(f"num_clouds must be at least 1, got {num_clouds}")
    if not 0 < days <= 3650:
        raise ValueError(f"days must be in (0, 3650], got {days:g}")
    if hosts and len(hosts) != num_clouds:
        raise ValueError(f"{len(hosts)} hosts for {num_clouds} clouds; give one host for each cloud, or none")
    authority = _Authority(timedelta(days=days))
    names = [cloud_name(i) for i in range(num_clouds)]
    tokens = tuple(access_token() for _ in names)
    certificate, key = authority.issue(CLIENT_NAME, [ExtendedKeyUsageOID.CLIENT_AUTH])
    clouds = []
    for i, (name, token) in enumerate(zip(names, tokens, strict=True)):
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        pair = authority.issue(certificate_name(name), purposes, hosts[i : i + 1])
        clouds.append(CloudKeys(name=name, authority=authority.pem, certificate=pair[0], key=pair[1], token=token))
    client = ClientKeys(authority=authority.pem, certificate=certificate, key=key, tokens=tokens)
    return KeyRing(authority_key=_private_pem(authority.key), client=client, clouds=tuple(clouds))


class _Authority:
    """Signs the certificates of one deployment; EC P-256 throughout."""

    def __init__(self, validity: timedelta):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self._start = datetime.now(UTC) - _CLOCK_SKEW
        self._end = datetime.now(UTC) + validity
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sfumato private authority")])
        subject_key = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        builder = self._draft(self._name, self.key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        self.pem = self._sign(builder.add_extension(subject_key, critical=False))

    def issue(
        self, name: str, purposes: Sequence[x509.ObjectIdentifier], hosts: Sequence[str] = ()
    ) -> tuple[bytes, bytes]:
        """Certificate and key, both PEM, for one party."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        names = x509.SubjectAlternativeName([x509.DNSName(name), *map(_general_name, hosts)])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._draft(subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
        builder = builder.add_extension(issuer, critical=False)
        return self._sign(builder.add_extension(names, critical=False)), _private_pem(key)

    def _draft(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=public_key,
            serial_number=x509.random_serial_number(),
            not_valid_before=self._start,
            not_valid_after=self._end,
        )

    def _sign(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
