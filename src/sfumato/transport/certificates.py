"""Whether a certificate, its key and its authority belong together and hold today."""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID


def certificate_problem(authority: bytes, certificate: bytes, key: bytes) -> str | None:
    """What is wrong with a party's own three PEM files, or ``None``; names no key."""
    try:
        issuer = x509.load_pem_x509_certificate(authority)
        own = x509.load_pem_x509_certificate(certificate)
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        return "cannot be read: copy the files again, unchanged"
    try:
        own.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return "is not signed by the ca.pem beside it: copy all files from one run of `sfumato keys`"
    if private.public_key() != own.public_key():
        return "does not belong to the key beside it: copy all files from one run of `sfumato keys`"
    return _expiry(issuer) or _expiry(own)


def _expiry(certificate: x509.Certificate) -> str | None:
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc.date()}: make new keys with `sfumato keys`"
    if now < certificate.not_valid_before_utc:
        return f"holds only from {certificate.not_valid_before_utc.date()} on: check this machine's clock"
    return None


def certified_name(certificate: bytes) -> str | None:
    """The first DNS name that a certificate is good for."""
    try:
        extensions = x509.load_pem_x509_certificate(certificate).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return next(iter(names.get_values_for_type(x509.DNSName)), None)
    except (ValueError, x509.ExtensionNotFound):
        return None


def is_for_clients(certificate: bytes) -> bool:
    """Whether a certificate lets its holder open streams, as a client of TLS."""
    try:
        extensions = x509.load_pem_x509_certificate(certificate).extensions
        return ExtendedKeyUsageOID.CLIENT_AUTH in extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, x509.ExtensionNotFound):
        return False
