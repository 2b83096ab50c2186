"""A terminal's identity: how it is got, kept, and renewed.

The keys are made and saved before anything is asked for, so that a crash or a lost answer repeats with the same keys and
gets the same answer. The platform root that the first answer names is kept for good: an answer that names another is
refused, as is one whose grants that root did not sign for this subject. `identity.json` is written last; while it is
missing, the home is not enrolled. Offline commands load neither gRPC nor X.509.

In a home: `role.txt`, `key` (Ed25519), `tls.key`, `cert.pem`, `trust.pem`, `identity.json`. Source: DESIGN, section 3.
"""

import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Struct

from energyshare.bodies import Between, CurrencyCode, EnrollmentProofBody, Name, SignedBytes
from energyshare.credentials import open_grant
from energyshare.errors import Corrupt, Reason, Rejected, Unavailable
from energyshare.home import PROGRAMS, WrongHome, open_home, require_role, write_atomically
from energyshare.signing import Label, SigningKey, digest
from energyshare.v1 import enrollment_pb2
from energyshare.values import Currency, Digest, Instant, PublicKey, Role, SubjectId, id_text
from energyshare.wire import Malformed, from_proto, seal

if TYPE_CHECKING:
    import grpc

    from energyshare.v1.enrollment_pb2_grpc import EnrollmentServiceStub

ANSWER_WITHIN_S: Final = 20
NOT_KNOWN: Final = Instant(0)
GRANTED: Final = {"provider": Role.ISSUER, "device": Role.DEVICE}
RECORD: Final = "identity.json"
IN_HEX: Final = ("subject_id", "owner_id", "root_key", "grant", "platform_grant")
AS_IS: Final = ("role", "name", "currency", "stream_addresses", "enrollment_address")
STORED: Final = (*AS_IS, *IN_HEX, "certificate_not_before", "certificate_not_after")
RESTORE: Final = "restore it from your backup, or enroll anew in another home"

Pem = Annotated[bytes, Between(1, 65_536)]
Address = Annotated[str, Between(3, 255)]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a terminal is and whom it trusts.

    `grant` is None for users, and until the operator has signed it. `certificate`, `tls_key` and `trust_bundle` are PEM. A
    certificate whose life is not known counts as expired.
    """

    role: str
    subject_id: bytes
    owner_id: bytes
    name: str
    key: SigningKey = field(repr=False)
    root_key: PublicKey
    grant: bytes | None
    platform_grant: bytes
    currency: Currency
    stream_addresses: tuple[str, ...]
    enrollment_address: str
    certificate: bytes
    tls_key: bytes = field(repr=False)
    trust_bundle: bytes
    home: Path
    certificate_not_before: Instant = NOT_KNOWN
    certificate_not_after: Instant = NOT_KNOWN


class EnrollResponse(Struct, frozen=True):
    """The cloud's answer, held to the contract's lengths and ranges."""

    role: Name
    subject_id: SubjectId
    owner_id: SubjectId
    name: Name
    certificate: Pem
    trust_bundle: Pem
    stream_addresses: Annotated[tuple[Address, ...], Between(1, 16)]
    platform_root_key: PublicKey
    platform_grant: SignedBytes
    grant: SignedBytes | None
    currency: CurrencyCode


def utc_now() -> Instant:
    """Read this machine's clock."""
    return Instant(time.time_ns() // 1_000)


async def enroll(
    home: Path,
    role: str,
    cloud: str,
    ca: Path,
    token: str,
    provider_name: str = "",
    *,
    clock: Callable[[], Instant] = utc_now,
) -> Identity:
    """Get an identity for a join token; in a home that has one, renew it and fetch the grants of now.

    `cloud` is HOST:PORT of the enrollment service, `ca` a PEM file with the authorities that may certify it,
    `provider_name` a device's provider. The caller holds the home's lock.
    Raises: WrongHome, Unavailable, Corrupt; Rejected as the cloud refused it, or for an answer that does not hold.
    """
    open_home(home, role)
    roots = _read_roots(ca)
    if (home / RECORD).exists():
        return await _enroll_again(load_identity(home, role), cloud, roots, clock())
    key, tls_key = _keys(home)
    request = _enroll_request(key, tls_key, role, token.strip(), provider_name, clock())
    answer = await _ask(cloud, roots, lambda stub: stub.Enroll(request, timeout=ANSWER_WITHIN_S))
    identity = _accept(from_proto(EnrollResponse, answer), role, key, tls_key, cloud, home)
    _save(identity)
    return identity


async def renew(identity: Identity, *, clock: Callable[[], Instant] = utc_now) -> Identity:
    """Get a new certificate, and addresses and grants of now, by proof of the registered key.

    The caller holds the home's lock. Raises: as enroll.
    """
    return await _renew_at(identity, identity.enrollment_address, identity.trust_bundle, clock())


def needs_renewal(identity: Identity, now: Instant) -> bool:
    """Tell whether a certificate has expired or has less than a third of its life left."""
    life = identity.certificate_not_after - identity.certificate_not_before
    return now > identity.certificate_not_after - life // 3


def load_identity(home: Path, role: str) -> Identity:
    """Read the identity of a home; raises WrongHome when it is another role's or not enrolled, Corrupt when it is damaged."""
    require_role(home, role)
    if not (home / RECORD).exists():
        raise WrongHome(f"{home} is not enrolled", f"enroll it with: {_enroll_command(role)}")
    try:
        return _read(home)
    except FileNotFoundError as error:
        raise Corrupt(f"{error.filename} is missing", RESTORE) from None
    except (ValueError, KeyError, TypeError):
        raise Corrupt(f"{home / RECORD} is damaged", RESTORE) from None


def channel_credentials(identity: Identity) -> "grpc.ChannelCredentials":
    """Give what opens a mutual TLS channel to the stream service."""
    import grpc

    return grpc.ssl_channel_credentials(identity.trust_bundle, identity.tls_key, identity.certificate)


# Asking


def _enroll_request(
    key: SigningKey, tls_key: bytes, role: str, token: str, provider_name: str, now: Instant
) -> enrollment_pb2.EnrollRequest:
    request, proof = _prove(key, tls_key, digest(Label.JOIN_TOKEN, token.encode()), now)
    return enrollment_pb2.EnrollRequest(
        token=token, certificate_request=request, public_key=key.public, proof=proof, provider_name=provider_name, role=role
    )


async def _enroll_again(identity: Identity, cloud: str, roots: bytes, now: Instant) -> Identity:
    try:
        return await _renew_at(identity, cloud, roots, now)
    except Rejected as refusal:
        if refusal.reason is Reason.IDENTITY_UNKNOWN:
            raise _elsewhere(identity, cloud) from None
        raise


async def _renew_at(identity: Identity, cloud: str, roots: bytes, now: Instant) -> Identity:
    csr, proof = _prove(identity.key, identity.tls_key, None, now)
    request = enrollment_pb2.RenewRequest(subject_id=identity.subject_id, certificate_request=csr, proof=proof)
    answer = await _ask(cloud, roots, lambda stub: stub.Renew(request, timeout=ANSWER_WITHIN_S))
    response = from_proto(EnrollResponse, answer.identity)
    if (response.platform_root_key, response.subject_id) != (identity.root_key, identity.subject_id):
        raise _elsewhere(identity, cloud)
    renewed = _accept(response, identity.role, identity.key, identity.tls_key, cloud, identity.home)
    _save(renewed)
    return renewed


def _elsewhere(identity: Identity, cloud: str) -> WrongHome:
    found = f"{identity.home} is enrolled at {identity.enrollment_address}, and {cloud} does not know it"
    return WrongHome(found, "name another directory with --home")


def _prove(key: SigningKey, tls_key: bytes, token_hash: Digest | None, now: Instant) -> tuple[bytes, bytes]:
    from certs.requests import request_for

    request = request_for(tls_key)
    return request, seal(EnrollmentProofBody(token_hash, request, now), key).signed


async def _ask(cloud: str, roots: bytes, call: "Callable[[EnrollmentServiceStub], Awaitable[Any]]") -> Any:
    import grpc.aio

    from energyshare.v1.enrollment_pb2_grpc import EnrollmentServiceStub

    async with grpc.aio.secure_channel(cloud, grpc.ssl_channel_credentials(roots)) as channel:
        try:
            return await call(EnrollmentServiceStub(channel))
        except grpc.aio.AioRpcError as call_error:
            from energyshare.rpc_errors import error_of

            raise error_of(call_error) from None


def _read_roots(ca: Path) -> bytes:
    from certs.certificates import load_certificate

    hint = "name the file with the cloud's authority, its ca.pem, with --ca"
    try:
        roots = ca.read_bytes()
        load_certificate(roots)
    except OSError as error:
        raise Unavailable(f"{ca} can't be read: {error.strerror}", hint) from None
    except Rejected:
        raise Unavailable(f"{ca} holds no certificate in PEM", hint) from None
    return roots


# Checking the answer


def _accept(response: EnrollResponse, role: str, key: SigningKey, tls_key: bytes, cloud: str, home: Path) -> Identity:
    """Turn an answer into an identity once every claim in it holds."""
    from certs.certificates import certifies, read_certificate

    if response.role != role:
        raise WrongHome(f"the join token is for a {response.role}, not for a {role}", f"ask the operator for a {role}'s token")
    _check_grants(response, key.public)
    info = read_certificate(response.certificate)
    subject = (info.spiffe.role, info.spiffe.subject_id)
    if subject != (role, response.subject_id) or not certifies(response.certificate, tls_key):
        raise Malformed("EnrollResponse.certificate", "is for another subject or key")
    return Identity(
        role=role,
        subject_id=response.subject_id,
        owner_id=response.owner_id,
        name=response.name,
        key=key,
        root_key=response.platform_root_key,
        grant=response.grant,
        platform_grant=response.platform_grant,
        currency=response.currency,
        stream_addresses=response.stream_addresses,
        enrollment_address=cloud,
        certificate=response.certificate,
        tls_key=tls_key,
        trust_bundle=response.trust_bundle,
        home=home,
        certificate_not_before=info.not_before,
        certificate_not_after=info.not_after,
    )


def _check_grants(response: EnrollResponse, public_key: PublicKey) -> None:
    open_grant(response.platform_grant, response.platform_root_key, Role.PLATFORM)
    if response.grant is None:
        return
    if response.role not in GRANTED:
        raise Rejected(Reason.GRANT_ROLE, holder=response.role)
    grant = open_grant(response.grant, response.platform_root_key, GRANTED[response.role]).body
    expected = (response.subject_id, response.owner_id) if response.role == "device" else (response.owner_id, None)
    if (grant.subject_id, grant.owner_id) != expected or grant.public_key != public_key:
        raise Rejected(Reason.GRANT_SUBJECT)


# Keeping


def _keys(home: Path) -> tuple[SigningKey, bytes]:
    """Give the home's keys; makes those that are missing."""
    from certs.requests import new_key_and_request

    if not (home / "key").exists():
        write_atomically(home / "key", os.urandom(32).hex().encode() + b"\n")
    if not (home / "tls.key").exists():
        write_atomically(home / "tls.key", new_key_and_request()[0])
    return SigningKey.load(home / "key"), (home / "tls.key").read_bytes()


def _save(identity: Identity) -> None:
    write_atomically(identity.home / "trust.pem", identity.trust_bundle)
    write_atomically(identity.home / "cert.pem", identity.certificate)
    write_atomically(identity.home / RECORD, json.dumps(_record(identity), indent=2).encode() + b"\n")


def _record(identity: Identity) -> dict[str, object]:
    values = {name: getattr(identity, name) for name in STORED}
    texts = {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}
    return {"subject": id_text(identity.subject_id), "public_key": identity.key.public.hex()} | texts


def _read(home: Path) -> Identity:
    record = json.loads((home / RECORD).read_bytes())
    key = SigningKey.load(home / "key")
    if key.public.hex() != record["public_key"]:
        raise Corrupt(f"{home / 'key'} is not the key that was enrolled", RESTORE)
    values: dict[str, Any] = {name: record[name] for name in STORED}
    values |= {name: bytes.fromhex(record[name]) for name in IN_HEX if record[name] is not None}
    values["stream_addresses"] = tuple(record["stream_addresses"])
    certificate, tls_key, trust = ((home / name).read_bytes() for name in ("cert.pem", "tls.key", "trust.pem"))
    return Identity(**values, key=key, certificate=certificate, tls_key=tls_key, trust_bundle=trust, home=home)


def _enroll_command(role: str) -> str:
    provider = " --provider NAME" if role == "device" else ""
    return f"{PROGRAMS[role]} enroll --cloud HOST:PORT --ca FILE --token-file FILE{provider}"
