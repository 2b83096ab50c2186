"""Certificate requests: made by terminals, checked by the authority.

A request proves possession of its key and nothing else; who the certificate is for comes from the join token or the
registered identity, so a request's subject and extensions are never looked at.

Source: PKCS#10, RFC 2986.
"""

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from energyshare.errors import Corrupt, Reason, Rejected

REQUEST_BYTES_MAX: Final = 4_096


def new_key_and_request() -> tuple[bytes, bytes]:
    """Make a P-256 key (PEM, PKCS#8) and a certificate request for it (DER)."""
    key_pem = key_to_pem(ec.generate_private_key(ec.SECP256R1()))
    return key_pem, request_for(key_pem)


def request_for(key_pem: bytes) -> bytes:
    """Make a certificate request (DER) for a key; raises Corrupt when it is no P-256 key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key_of_pem(key_pem), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def open_request(csr_der: bytes) -> ec.EllipticCurvePublicKey:
    """Check a certificate request and give its key; raises Rejected{MALFORMED}."""
    if len(csr_der) > REQUEST_BYTES_MAX:
        raise _malformed(f"is longer than {REQUEST_BYTES_MAX} bytes")
    try:
        request = x509.load_der_x509_csr(csr_der)
        key, proven = request.public_key(), request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise _malformed("does not parse") from None
    if not is_p256(key):
        raise _malformed("is not for an ECDSA P-256 key")
    if not proven:
        raise _malformed("is not signed by its own key")
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def is_p256(key: object) -> bool:
    """Tell whether a public or private key is ECDSA P-256."""
    kinds = (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey)
    return isinstance(key, kinds) and isinstance(key.curve, ec.SECP256R1)


def key_to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Write a private key as unencrypted PEM, PKCS#8."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def key_of_pem(key_pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read a private key; raises Corrupt when it is no P-256 key."""
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not is_p256(key):
        raise Corrupt("a TLS key is not a P-256 key in PEM", "restore the file from your backup")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _malformed(problem: str) -> Rejected:
    return Rejected(Reason.MALFORMED, field="certificate_request", problem=problem)
