"""The cloud's certificate authority: one root that signs short-lived certificates of terminals and nodes.

Its key signs TLS identities only; vouchers, receipts and grants never depend on it. Certificates are short-lived, so losing
one matters for days; a revoked identity is refused by the cloud at once, without a revocation list. A terminal's certificate
names no host and is for clients, a node's is for servers, so neither passes for the other.

Source: RFC 5280; X509-SVID, sections 2 to 4.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.certificates import load_certificate, serial_text, uris_of
from certs.requests import key_of_pem, key_to_pem, open_request
from certs.spiffe import SpiffeId, domain_uri, node_uri
from energyshare.errors import Corrupt, Reason, Rejected, Unavailable
from energyshare.values import DAY_S, Instant, datetime_of, instant_of, later

TERMINAL_LIFETIME_S: Final = 7 * DAY_S
SERVER_LIFETIME_S: Final = 30 * DAY_S
AUTHORITY_LIFETIME_S: Final = 3_652 * DAY_S
BACKDATED_S: Final = 300  # a terminal's clock may be that much behind

_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A terminal's certificate in PEM; `serial` is lower-case hexadecimal."""

    pem: bytes
    serial: str
    not_after: Instant


@dataclass(frozen=True, slots=True)
class Authority:
    """A root certificate with its key."""

    trust_domain: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def create(cls, trust_domain: str, now: Instant) -> Self:
        """Make a new authority; raises Rejected{MALFORMED} when the trust domain is none."""
        uri = domain_uri(trust_domain)
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(trust_domain, _self_signed(key, uri, now), key)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read a saved authority; raises Unavailable when there is none, Corrupt when its files do not fit together."""
        try:
            certificate = load_certificate((directory / "ca.pem").read_bytes())
            key = key_of_pem((directory / "ca.key").read_bytes())
        except OSError as error:
            raise Unavailable(
                f"there is no certificate authority in {directory}: {error.strerror}", "name the directory that holds ca.pem"
            ) from None
        except Rejected:
            raise Corrupt(f"{directory / 'ca.pem'} is not a certificate", "restore it from your backup") from None
        uris = uris_of(certificate)
        if certificate.public_key() != key.public_key() or len(uris) != 1:
            raise Corrupt(f"ca.pem and ca.key in {directory} do not belong together", "restore both from your backup")
        return cls(uris[0].removeprefix("spiffe://"), certificate, key)

    def save(self, directory: Path) -> None:
        """Write ca.key, for its owner only, and ca.pem; raises FileExistsError rather than overwrite one."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_new(directory / "ca.key", key_to_pem(self.key), 0o600)
        _write_new(directory / "ca.pem", self.certificate_pem, 0o644)

    @property
    def certificate_pem(self) -> bytes:
        """The root certificate: what terminals trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue_terminal(
        self, csr_der: bytes, role: str, subject_id: bytes, now: Instant, lifetime_s: int = TERMINAL_LIFETIME_S
    ) -> IssuedCertificate:
        """Certify the key of a request for a subject, whatever the request says of itself.

        Raises: Rejected{MALFORMED} for a bad request, Unavailable when the authority itself has expired.
        """
        key = open_request(csr_der)
        uri = x509.UniformResourceIdentifier(str(SpiffeId(self.trust_domain, role, subject_id)))
        certificate = self._issue(key, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, now, lifetime_s)
        not_after = instant_of(certificate.not_valid_after_utc)
        return IssuedCertificate(_pem(certificate), serial_text(certificate), not_after)

    def issue_server(
        self, names: Sequence[str], now: Instant, lifetime_s: int = SERVER_LIFETIME_S
    ) -> tuple[bytes, bytes, Instant]:
        """Make a node's certificate chain (PEM), its key (PEM) and the end of its life.

        `names` are the host names and IP addresses by which terminals reach it.
        Raises: Rejected{MALFORMED} for a bad name, Unavailable when the authority itself has expired.
        """
        hosts = [_host(name) for name in names]
        if not hosts:
            raise Rejected(Reason.MALFORMED, field="names", problem="must hold at least one host name or address")
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [*hosts, x509.UniformResourceIdentifier(node_uri(self.trust_domain))]
        certificate = self._issue(key.public_key(), alternatives, ExtendedKeyUsageOID.SERVER_AUTH, now, lifetime_s)
        return _pem(certificate), key_to_pem(key), instant_of(certificate.not_valid_after_utc)

    def _issue(
        self,
        key: ec.EllipticCurvePublicKey,
        alternatives: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        now: Instant,
        lifetime_s: int,
    ) -> x509.Certificate:
        end = self._end(now, lifetime_s)
        builder = _dated(later(now, -BACKDATED_S), end).subject_name(x509.Name([])).issuer_name(self.certificate.subject)
        builder = builder.public_key(key).add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=True)  # the subject is empty
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return builder.add_extension(issuer_key, critical=False).sign(self.key, hashes.SHA256())

    def _end(self, now: Instant, lifetime_s: int) -> Instant:
        own_end = instant_of(self.certificate.not_valid_after_utc)
        if now >= own_end:
            raise Unavailable("the certificate authority has expired", "make a new one and enroll all terminals anew")
        return min(later(now, lifetime_s), own_end)


def _self_signed(key: ec.EllipticCurvePrivateKey, uri: str, now: Instant) -> x509.Certificate:
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Named after its key: an old and a new root in one trust bundle must not be mistaken for each other.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"EnergyShare CA {key_id.digest.hex()[:16]}")])
    builder = _dated(later(now, -BACKDATED_S), later(now, AUTHORITY_LIFETIME_S)).subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).add_extension(key_id, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    return builder.add_extension(names, critical=False).sign(key, hashes.SHA256())


def _dated(start: Instant, end: Instant) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().serial_number(x509.random_serial_number())
    first, last = (datetime_of(instant).replace(microsecond=0) for instant in (start, end))
    return builder.not_valid_before(first).not_valid_after(last)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
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


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    if _HOST_NAME.fullmatch(name) is None:
        raise Rejected(Reason.MALFORMED, field="names", problem=f"{name!r} is no host name or IP address in lower case")
    return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
