"""What a certificate says: for whom it speaks, its serial and its life.

This reads; it does not verify. TLS has checked the chain before anyone looks here, and whether the identity still stands
(expiry, serial, revocation) is for the caller to compare at every message.
"""

from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from msgspec import Struct

from certs.requests import key_of_pem
from certs.spiffe import SpiffeId, parse_spiffe
from energyshare.errors import Reason, Rejected
from energyshare.values import Instant, instant_of


class CertificateInfo(Struct, frozen=True):
    """A terminal's certificate; `serial` is lower-case hexadecimal."""

    spiffe: SpiffeId
    serial: str
    not_before: Instant
    not_after: Instant


def read_certificate(pem: bytes) -> CertificateInfo:
    """Read the first certificate of a PEM chain.

    Raises: Rejected with MALFORMED when there is none, IDENTITY_UNKNOWN when it does not speak for exactly one subject.
    """
    certificate = load_certificate(pem)
    uris = uris_of(certificate)
    if len(uris) != 1:
        raise Rejected(Reason.IDENTITY_UNKNOWN)
    life = instant_of(certificate.not_valid_before_utc), instant_of(certificate.not_valid_after_utc)
    return CertificateInfo(parse_spiffe(uris[0]), serial_text(certificate), *life)


def certifies(pem: bytes, key_pem: bytes) -> bool:
    """Tell whether the first certificate of a chain is for a private key."""
    return load_certificate(pem).public_key() == key_of_pem(key_pem).public_key()


def load_certificate(pem: bytes) -> x509.Certificate:
    """Parse the first certificate of a PEM chain; raises Rejected{MALFORMED}."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except (ValueError, x509.InvalidVersion):
        raise Rejected(Reason.MALFORMED, field="certificate", problem="is not a certificate in PEM") from None


def uris_of(certificate: x509.Certificate) -> Sequence[str]:
    """Give the URIs that a certificate names; none when it names its subject otherwise."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, UnsupportedAlgorithm, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ()
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def serial_text(certificate: x509.Certificate) -> str:
    """Write a certificate's serial as lower-case hexadecimal."""
    return format(certificate.serial_number, "x")
