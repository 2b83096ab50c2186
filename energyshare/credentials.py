"""Opening of grants, vouchers and receipts: who signed what, in which role, for whom.

Every verifier names the role and the owner that it expects, so a device key can't pass for an issuing key, nor one provider
for another. Each function checks signatures before it looks at what they cover, and gives back values that need no further
check of that kind. All of it works offline from the platform root's key.
"""

from functools import lru_cache
from itertools import pairwise

from energyshare.bodies import (
    Body,
    ChallengeBody,
    EndReceiptBody,
    GrantBody,
    OpenedEnd,
    OpenedStart,
    OpenedVoucher,
    PresentationBody,
    ReadingBody,
    ReleaseBody,
    SerialClosedBody,
    StartReceiptBody,
    Verified,
    VoucherBody,
)
from energyshare.errors import Reason, Rejected
from energyshare.values import DeviceId, EndCause, Instant, ProviderId, PublicKey, Role, unix_s
from energyshare.wire import BodyT, decode_presentable, open_signed, peek


@lru_cache(maxsize=4096)
def open_grant(signed: bytes, root: PublicKey, role: Role) -> Verified[GrantBody]:
    """Check a grant and its role.

    Raises: Rejected with GRANT_INVALID, GRANT_ROLE or MALFORMED.
    """
    try:
        grant = open_signed(GrantBody, signed, root)
    except Rejected as refusal:
        if refusal.reason is Reason.SIGNATURE_INVALID:
            raise Rejected(Reason.GRANT_INVALID) from None
        raise
    if grant.body.role is not role or (grant.body.owner_id is None) == (role is Role.DEVICE):
        raise Rejected(Reason.GRANT_ROLE, granted=grant.body.role.name, needed=role.name)
    return grant


def require_valid_at(grant: Verified[GrantBody], at: Instant) -> None:
    """Raise Rejected{GRANT_EXPIRED} unless a grant was valid at an instant."""
    if not grant.body.not_before_unix_s <= unix_s(at) <= grant.body.not_after_unix_s:
        raise Rejected(Reason.GRANT_EXPIRED)


def open_issued(cls: type[BodyT], signed: bytes, grant: Verified[GrantBody], provider: ProviderId) -> Verified[BodyT]:
    """Check a body that a provider's issuing key signed.

    Raises: Rejected with GRANT_SUBJECT, SIGNATURE_INVALID or MALFORMED.
    """
    if bytes(grant.body.subject_id) != bytes(provider):
        raise Rejected(Reason.GRANT_SUBJECT)
    return open_signed(cls, signed, grant.body.public_key)


def open_presentable(data: bytes, root: PublicKey) -> OpenedVoucher:
    """Check a voucher with its grant; who may use it where and when is for the caller to compare.

    Raises: Rejected with GRANT_INVALID, GRANT_ROLE, SIGNATURE_INVALID or MALFORMED.
    """
    presentable = decode_presentable(data)
    grant = open_grant(presentable.grant, root, Role.ISSUER)
    return OpenedVoucher(open_signed(VoucherBody, presentable.voucher, grant.body.public_key), grant)


def open_device_body(cls: type[BodyT], signed: bytes, grant: Verified[GrantBody]) -> Verified[BodyT]:
    """Check a body that a device signed about itself.

    Raises: Rejected with GRANT_SUBJECT, SIGNATURE_INVALID or MALFORMED.
    """
    opened = open_signed(cls, signed, grant.body.public_key)
    if bytes(_device_of(opened.body)) != bytes(grant.body.subject_id):
        raise Rejected(Reason.GRANT_SUBJECT)
    return opened


@lru_cache(maxsize=4096)  # an end receipt repeats it
def open_start_receipt(signed: bytes, grant: Verified[GrantBody], holder_key: PublicKey) -> OpenedStart:
    """Check a start receipt, the challenge in it, and that the holder answered that challenge.

    Raises: Rejected with GRANT_SUBJECT, GRANT_EXPIRED, SIGNATURE_INVALID, PRESENTATION_MISSING or MALFORMED.
    """
    receipt = open_device_body(StartReceiptBody, signed, grant)
    require_valid_at(grant, receipt.body.start_time)
    challenge = open_device_body(ChallengeBody, receipt.body.challenge, grant)
    try:
        presentation = open_signed(PresentationBody, receipt.body.presentation, holder_key)
    except Rejected:
        raise Rejected(Reason.PRESENTATION_MISSING) from None
    if (presentation.body.nonce, presentation.body.device_id) != (challenge.body.nonce, receipt.body.device_id):
        raise Rejected(Reason.PRESENTATION_MISSING)
    return OpenedStart(receipt, presentation.body.voucher_hash)


def open_end_receipt(
    signed: bytes, grant: Verified[GrantBody], holder_key: PublicKey, owner_key: PublicKey | None
) -> OpenedEnd:
    """Check an end receipt, the start receipt that it repeats, and who released.

    Raises: Rejected as open_start_receipt, with STRANGER for a release by someone else, RECEIPT_FOREIGN when the two
    receipts are not of one session.
    """
    receipt = open_device_body(EndReceiptBody, signed, grant)
    start = open_start_receipt(receipt.body.start_receipt, grant, holder_key)
    if receipt.body.order_id != start.receipt.body.order_id:
        raise Rejected(Reason.RECEIPT_FOREIGN)
    _require_release(receipt.body, holder_key, owner_key)
    return OpenedEnd(receipt, start)


def open_serial_closed(signed: bytes, grant: Verified[GrantBody]) -> Verified[SerialClosedBody]:
    """Check a device's statement that a voucher was burned; which voucher that is, is for the caller to compare.

    Raises: Rejected with GRANT_SUBJECT, GRANT_EXPIRED, SIGNATURE_INVALID or MALFORMED.
    """
    statement = open_device_body(SerialClosedBody, signed, grant)
    require_valid_at(grant, statement.body.closed_time)
    return statement


def open_readings(signed: tuple[bytes, ...], grant: Verified[GrantBody]) -> tuple[Verified[ReadingBody], ...]:
    """Check readings one by one, and that those given follow one another.

    Raises: Rejected with READING_GAP, GRANT_SUBJECT, SIGNATURE_INVALID or MALFORMED.
    """
    readings = tuple(open_device_body(ReadingBody, one, grant) for one in signed)
    for before, after in pairwise(readings):
        if (after.body.number, after.body.previous_hash) != (before.body.number + 1, before.digest):
            raise Rejected(Reason.READING_GAP, after=str(before.body.number))
    return readings


def _require_release(receipt: EndReceiptBody, holder_key: PublicKey, owner_key: PublicKey | None) -> None:
    if receipt.cause is EndCause.DURATION_CAP and receipt.release is None:
        return
    key = {EndCause.HOLDER: holder_key, EndCause.OWNER: owner_key}.get(receipt.cause)
    if key is None or receipt.release is None:
        raise Rejected(Reason.STRANGER)
    try:
        release = open_signed(ReleaseBody, receipt.release, key)
    except Rejected:
        raise Rejected(Reason.STRANGER) from None
    if (release.body.device_id, release.body.order_id) != (receipt.device_id, receipt.order_id):
        raise Rejected(Reason.STRANGER)


def _device_of(body: Body) -> DeviceId:
    device: DeviceId = body.device_id  # type: ignore[attr-defined]
    return device


def device_of_receipt(signed: bytes) -> DeviceId:
    """Read which device an unchecked start receipt speaks of."""
    return peek(StartReceiptBody, signed).device_id
