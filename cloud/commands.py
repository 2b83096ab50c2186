"""Unary calls that write: each a function on the batch's working set, run by the processor between messages.

They are idempotent by a request id that the client makes, or by the key that it proves, so that a lost answer can be asked
for again.
"""

from typing import Any

from msgspec import Struct
from sqlalchemy import insert, select, update

from cloud.store import tables as t
from cloud.work import WorkingSet
from energyshare.bodies import GrantBody
from energyshare.errors import Reason, Rejected
from energyshare.records import replace
from energyshare.signing import Label, derive_id, digest
from energyshare.values import (
    DAY_S,
    Digest,
    Instant,
    ProviderId,
    PublicKey,
    RequestId,
    Role,
    SubjectId,
    TerminalId,
    UnixS,
    later,
    unix_s,
)
from energyshare.wire import encode

ROLES = ("user", "provider", "device")
TOKEN_LIFETIME_S = DAY_S
GRANT_LIFETIME_S = 2 * 366 * DAY_S  # outlives every voucher that an issuing key signs


class Token(Struct, frozen=True):
    """A join token and when it stops working."""

    text: str
    expiry: Instant


class Enrollee(Struct, frozen=True):
    """Who a token lets in, before it has a certificate."""

    role: str
    subject_id: bytes
    owner_id: bytes
    name: str


class Enrollment(Struct, frozen=True):
    """What an enrollment proved, and the certificate that was issued on it."""

    token: str
    role: str
    public_key: PublicKey
    provider_name: str
    certificate: bytes
    certificate_serial: str
    certificate_not_after: Instant


class Enrolled(Struct, frozen=True):
    """A terminal or device as the database holds it."""

    role: str
    subject_id: bytes
    owner_id: bytes
    name: str
    public_key: PublicKey
    certificate: bytes
    grant: bytes | None


def create_token(work: WorkingSet, request: RequestId, secret: bytes, role: str, name: str, now: Instant) -> Token:
    """Make a join token; `secret` and request id give the same token again.

    Raises: Rejected{MALFORMED} for an unknown role or an empty or long name.
    """
    if role not in ROLES:
        raise Rejected(Reason.MALFORMED, field="role", problem=f"is one of {', '.join(ROLES)}")
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise Rejected(Reason.MALFORMED, field="name", problem="has 1 to 64 printable characters")
    text = digest(Label.JOIN_TOKEN, secret + request).hex()
    hashed, expiry = token_hash(text), later(now, TOKEN_LIFETIME_S)
    known = work.unit.row(select(t.join_tokens).where(t.join_tokens.c.hash == hashed))
    if known is not None:
        return Token(text, Instant(known.expiry))
    work.unit.execute(insert(t.join_tokens).values(hash=hashed, role=role, name=name, expiry=expiry))
    return Token(text, expiry)


def token_hash(text: str) -> Digest:
    """Give what is stored of a join token."""
    return digest(Label.JOIN_TOKEN, text.encode())


def enrollee(work: WorkingSet, token: str, role: str, key: PublicKey, provider_name: str, now: Instant) -> Enrollee:
    """Say whom a token lets in; nothing is written yet.

    Raises: Rejected with TOKEN_UNKNOWN, TOKEN_EXPIRED, TOKEN_USED, WRONG_ROLE, PROVIDER_UNKNOWN or NAME_TAKEN.
    """
    known = work.unit.row(select(t.join_tokens).where(t.join_tokens.c.hash == token_hash(token)))
    if known is None:
        raise Rejected(Reason.TOKEN_UNKNOWN)
    if known.role != role:
        raise Rejected(Reason.WRONG_ROLE, token=known.role, program=role)
    if known.used_by is not None:
        if known.used_by != key:
            raise Rejected(Reason.TOKEN_USED)
        return _enrolled_before(work, TerminalId(known.terminal_id))
    if now > known.expiry:
        raise Rejected(Reason.TOKEN_EXPIRED)
    return _newcomer(work, role, known.name, token, provider_name)


def enroll(work: WorkingSet, given: Enrollment, now: Instant) -> Enrolled:
    """Bind a token to its first key and register the terminal; the same key gets the same answer again."""
    who = enrollee(work, given.token, given.role, given.public_key, given.provider_name, now)
    stored = work.unit.row(select(t.terminals).where(t.terminals.c.id == who.subject_id))
    if stored is None:
        work.unit.execute(insert(t.terminals).values(**_terminal_row(who, given, now)))
        used = {"used_by": given.public_key, "terminal_id": who.subject_id}
        work.unit.execute(update(t.join_tokens).where(t.join_tokens.c.hash == token_hash(given.token)).values(**used))
        _register_account(work, who)
        stored = work.unit.row(select(t.terminals).where(t.terminals.c.id == who.subject_id))
    return _enrolled(stored)


def renew(
    work: WorkingSet, terminal: TerminalId, key: PublicKey, certificate: bytes, serial: str, not_after: Instant
) -> Enrolled:
    """Replace a terminal's certificate.

    Raises: Rejected with IDENTITY_UNKNOWN, IDENTITY_REVOKED, or PROOF_INVALID when another key is registered by now.
    """
    stored = registered(work, terminal)
    if stored.public_key != key:
        raise Rejected(Reason.PROOF_INVALID)
    renewed = {"certificate": certificate, "certificate_serial": serial, "certificate_not_after": not_after}
    work.unit.execute(update(t.terminals).where(t.terminals.c.id == terminal).values(**renewed))
    return replace(stored, certificate=certificate)


def registered(work: WorkingSet, terminal: TerminalId) -> Enrolled:
    """Give a terminal that still stands, with its registered key.

    Raises: Rejected with IDENTITY_UNKNOWN or IDENTITY_REVOKED.
    """
    stored = work.unit.row(select(t.terminals).where(t.terminals.c.id == terminal))
    if stored is None:
        raise Rejected(Reason.IDENTITY_UNKNOWN)
    if stored.revoked:
        raise Rejected(Reason.IDENTITY_REVOKED)
    return _enrolled(stored)


def submit_grant(work: WorkingSet, now: Instant, *, body: GrantBody, signed: bytes) -> str:
    """Take a grant that the platform root has signed for a terminal that waits for it; gives its name.

    Raises: Rejected{GRANT_SUBJECT} unless it is exactly the grant that was asked for.
    """
    stored = work.unit.row(select(t.terminals).where(t.terminals.c.id == body.subject_id))
    if stored is None or stored.grant_body != encode(body):
        raise Rejected(Reason.GRANT_SUBJECT)
    work.unit.execute(update(t.terminals).where(t.terminals.c.id == body.subject_id).values(grant_signed=signed))
    return str(stored.name)


def _newcomer(work: WorkingSet, role: str, name: str, token: str, provider_name: str) -> Enrollee:
    """Name a newcomer; ids follow from the token, a device's from its owner and name, so that asking again changes nothing."""
    drawn = derive_id(Label.JOIN_TOKEN, token_hash(token), "subject")
    match role:
        case "device":
            provider = _account(work, "provider", provider_name)
            if provider is None:
                raise Rejected(Reason.PROVIDER_UNKNOWN, provider=provider_name)
            device = derive_id(Label.DEVICE_ID, provider, name)
            _require_free(work, device, name)
            return Enrollee(role, device, provider, name)
        case "provider":
            if _account(work, "provider", name) is not None:
                raise Rejected(Reason.NAME_TAKEN, name=name)
            return Enrollee(role, drawn, drawn, name)
        case _:
            account = _account(work, "user", name) or derive_id(Label.JOIN_TOKEN, token_hash(token), "account")
            return Enrollee(role, drawn, account, name)


def _require_free(work: WorkingSet, subject: bytes, name: str) -> None:
    if work.unit.row(select(t.terminals.c.id).where(t.terminals.c.id == subject)) is not None:
        raise Rejected(Reason.NAME_TAKEN, name=name)


def _account(work: WorkingSet, role: str, name: str) -> bytes | None:
    found: bytes | None = work.unit.scalar(select(t.accounts.c.id).where(t.accounts.c.role == role, t.accounts.c.name == name))
    return found


def _register_account(work: WorkingSet, who: Enrollee) -> None:
    if who.role != "device" and _account(work, who.role, who.name) is None:
        work.unit.execute(insert(t.accounts).values(id=who.owner_id, role=who.role, name=who.name))


def _terminal_row(who: Enrollee, given: Enrollment, now: Instant) -> dict[str, object]:
    return {
        "id": who.subject_id,
        "role": who.role,
        "account_id": who.owner_id,
        "name": who.name,
        "public_key": given.public_key,
        "certificate": given.certificate,
        "certificate_serial": given.certificate_serial,
        "certificate_not_after": given.certificate_not_after,
        "revoked": False,
        "grant_body": _grant_body(who, given.public_key, now),
        "grant_signed": None,
        "incarnation": None,
        "last_in": 0,
        "last_in_hash": b"",
        "last_out": 0,
        "created": now,
    }


def _grant_body(who: Enrollee, key: PublicKey, now: Instant) -> bytes | None:
    """Give the grant that the platform root is asked to sign; users need none."""
    if who.role == "user":
        return None
    role = Role.DEVICE if who.role == "device" else Role.ISSUER
    owner = ProviderId(who.owner_id) if role is Role.DEVICE else None
    start = unix_s(later(now, -300))
    return encode(GrantBody(SubjectId(who.subject_id), role, key, start, UnixS(start + GRANT_LIFETIME_S), owner))


def _enrolled_before(work: WorkingSet, terminal: TerminalId) -> Enrollee:
    stored = work.unit.row(select(t.terminals).where(t.terminals.c.id == terminal))
    return Enrollee(stored.role, stored.id, stored.account_id, stored.name)


def _enrolled(row: Any) -> Enrolled:
    return Enrolled(row.role, row.id, row.account_id, row.name, row.public_key, row.certificate, row.grant_signed)
