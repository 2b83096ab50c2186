"""Signatures of OCMF records: ECDSA over SHA-256 of the payload's bytes as they stand, on the curves that the format names.

Keys are read as PEM, DER, hex or base64 of a SubjectPublicKeyInfo, or as an encoded point of the record's curve. Which key is
the meter's, a record can't say: it must come from the meter, or from who answers for it.
Source: OCMF 1.4, tables 22 and 23; SEC 1, 2.3.3.
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from hashlib import sha256

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from energyshare.ocmf import HEX, Record
from energyshare.ocmf_fields import Fault, OcmfError

KEY_BYTES_MAX = 10_000
CURVES: Mapping[str, type[ec.EllipticCurve]] = {
    "ECDSA-secp192r1-SHA256": ec.SECP192R1,
    "ECDSA-secp256k1-SHA256": ec.SECP256K1,
    "ECDSA-secp256r1-SHA256": ec.SECP256R1,
    "ECDSA-secp384r1-SHA256": ec.SECP384R1,
    "ECDSA-brainpool256r1-SHA256": ec.BrainpoolP256R1,
    "ECDSA-brainpool384r1-SHA256": ec.BrainpoolP384R1,
    # as meters write them, after RFC 5639
    "ECDSA-brainpoolP256r1-SHA256": ec.BrainpoolP256R1,
    "ECDSA-brainpoolP384r1-SHA256": ec.BrainpoolP384R1,
}
SEQUENCE = re.compile(rb"\x30([\x00-\x7f])(.*)", re.DOTALL)


def verify(record: Record, key: ec.EllipticCurvePublicKey) -> tuple[str, ...]:
    """Check a record's signature; gives remarks on how it is written.

    Raises: OcmfError with ALGORITHM, FORMAT, KEY or SIGNATURE.
    """
    curve = curve_of(record)
    if not isinstance(key.curve, curve):
        raise OcmfError(Fault.KEY, "", f"the key is on {key.curve.name}, the signature on {curve.name}")
    signature = _der_of(record.signature, key.curve)
    try:
        key.verify(signature, record.signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise OcmfError(Fault.SIGNATURE, "", "the signature does not hold for these bytes and this key") from None
    return () if signature == record.signature else ("signature.SD is not written as DER has it",)


def curve_of(record: Record) -> type[ec.EllipticCurve]:
    """Give the curve that a record was signed on; raises OcmfError{ALGORITHM}."""
    curve = CURVES.get(record.algorithm)
    if curve is None:
        raise OcmfError(Fault.ALGORITHM, "signature.SA", f"{record.algorithm} can't be checked")
    return curve


def public_key(data: bytes, curve: type[ec.EllipticCurve]) -> ec.EllipticCurvePublicKey:
    """Read a public key as people and meters hand it on; raises OcmfError{KEY}, or {ALGORITHM} where its curve is missing."""
    if len(data) > KEY_BYTES_MAX:
        raise OcmfError(Fault.KEY, "", "the key is too long to be one")
    try:
        key = _loaded(data, curve)
    except UnsupportedAlgorithm:
        raise OcmfError(Fault.ALGORITHM, "", "the key is on a curve that can't be checked here") from None
    except (ValueError, TypeError):
        raise OcmfError(Fault.KEY, "", "the key can't be read") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise OcmfError(Fault.KEY, "", "the key is not one of an elliptic curve")
    return key


def key_text(key: ec.EllipticCurvePublicKey) -> str:
    """Write a public key as transparency software takes it: the SubjectPublicKeyInfo in hex."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """Write a public key as PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """Give the SHA-256 of a public key in hex, by which people compare it."""
    return sha256(bytes.fromhex(key_text(key))).hexdigest()


def _der_of(signature: bytes, curve: ec.EllipticCurve) -> bytes:
    """Give a signature in DER, also of what meters write in its place: the same two numbers, with nothing left open.

    Some write them bare, each as long as the curve's; others as unsigned numbers within DER.
    """
    size = _octets(curve)
    bare = (signature[:size], signature[size:]) if len(signature) == 2 * size else None
    numbers = _unsigned_numbers(signature) or bare
    if numbers is None:
        raise OcmfError(Fault.FORMAT, "signature.SD", "is not a DER signature")
    r, s = (int.from_bytes(number, "big") for number in numbers)
    return encode_dss_signature(r, s)


def _octets(curve: ec.EllipticCurve) -> int:
    """Give the bytes that a number of a curve takes."""
    return (curve.key_size + 7) // 8


def _unsigned_numbers(signature: bytes) -> tuple[bytes, bytes] | None:
    """Take two integers out of a sequence, each of less than 128 bytes. Source: ITU-T X.690, 8.3 and 8.9."""
    found = SEQUENCE.fullmatch(signature)
    if found is None or found[1][0] != len(found[2]):
        return None
    first, rest = _integer(found[2])
    second, nothing = _integer(rest)
    return (first, second) if first and second and not nothing else None


def _integer(data: bytes) -> tuple[bytes, bytes]:
    """Split an integer's bytes from what comes after them; none where there is no integer."""
    end = 2 + (data[1] if len(data) > 1 else 0)
    return (data[2:end], data[end:]) if data[:1] == b"\x02" and end <= len(data) else (b"", data)


def _loaded(data: bytes, curve: type[ec.EllipticCurve]) -> object:
    if data.lstrip().startswith(b"-----BEGIN"):
        return load_pem_public_key(data)
    raw = _decoded(data)
    if raw[:1] == b"\x30":
        return load_der_public_key(raw)
    bare = len(raw) == 2 * _octets(curve())
    return ec.EllipticCurvePublicKey.from_encoded_point(curve(), b"\x04" + raw if bare else raw)


def _decoded(data: bytes) -> bytes:
    """Give a key's bytes: of hex digits only, of base64, or as they are; a key in DER has bytes that no text has."""
    joined = b"".join(data.split())
    if not joined.isascii():
        return data
    text = joined.decode()
    return bytes.fromhex(text) if HEX.fullmatch(text) else b64decode(text, validate=True)
