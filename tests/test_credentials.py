"""Who signed what, in which role, for whom: every mix-up is refused by its reason."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest

from energyshare.bodies import (
    ChallengeBody,
    EndReceiptBody,
    GrantBody,
    OfferBody,
    PresentationBody,
    ReadingBody,
    ReleaseBody,
    SelectionBody,
    StartReceiptBody,
    Verified,
    VoucherBody,
)
from energyshare.credentials import (
    device_of_receipt,
    open_device_body,
    open_end_receipt,
    open_grant,
    open_issued,
    open_presentable,
    open_readings,
    open_start_receipt,
    require_valid_at,
)
from energyshare.errors import Rejected
from energyshare.records import replace
from energyshare.signing import SigningKey
from energyshare.values import (
    ClockQuality,
    Currency,
    DeviceId,
    DeviceState,
    Digest,
    DurationS,
    EndCause,
    EnergyWh,
    Epoch,
    Instant,
    Minor,
    Nonce,
    Number,
    OrderId,
    ProviderId,
    Role,
    Serial,
    SubjectId,
    UnixS,
    of_unix_s,
)
from energyshare.wire import present, seal


def key(name: str) -> SigningKey:
    return SigningKey(sha256(name.encode()).digest())


ROOT, FOREIGN, ISSUER, DEVICE_KEY, HOLDER, OTHER = map(key, ("root", "foreign", "issuer", "device", "holder", "other"))
OWNER, DEVICE, ORDER, NONCE = ProviderId(b"P" * 16), DeviceId(b"D" * 16), OrderId(b"O" * 16), Nonce(b"N" * 16)
BEGIN, END = UnixS(1_000), UnixS(2_000)
AT = Instant(1_500_000_000)

ISSUED = GrantBody(SubjectId(OWNER), Role.ISSUER, ISSUER.public, BEGIN, END, None)
OWNED = GrantBody(SubjectId(DEVICE), Role.DEVICE, DEVICE_KEY.public, BEGIN, END, OWNER)
PLATFORM = GrantBody(SubjectId(b"C" * 16), Role.PLATFORM, OTHER.public, BEGIN, END, None)
ISSUER_GRANT, DEVICE_GRANT = seal(ISSUED, ROOT), seal(OWNED, ROOT)

VOUCHER = VoucherBody(
    order_id=ORDER,
    device_id=DEVICE,
    holder_key=HOLDER.public,
    energy_wh_max=EnergyWh(1),
    duration_s_max=DurationS(1),
    not_before_unix_s=BEGIN,
    window_s=DurationS(1),
    serial=Serial(1),
    epoch=Epoch(1),
    tariff_hash=Digest(b"t" * 32),
)
SELECTION = SelectionBody(ORDER, Digest(b"o" * 32), Minor(1), Currency("CNY"), AT)


def refuses(reason: str, call: Callable[[], Any]) -> None:
    with pytest.raises(Rejected) as refused:
        call()
    assert refused.value.reason == reason, refused.value


@pytest.mark.parametrize("body", [ISSUED, OWNED, PLATFORM], ids=lambda body: body.role.name)
@pytest.mark.parametrize("role", Role, ids=lambda role: role.name)
def test_a_grant_is_good_for_its_own_role_only(body: GrantBody, role: Role) -> None:
    signed = seal(body, ROOT).signed
    if role is body.role:
        assert open_grant(signed, ROOT.public, role).body == body
        return
    refuses("GRANT_ROLE", lambda: open_grant(signed, ROOT.public, role))


@pytest.mark.parametrize(
    ("body", "role"),
    [
        (replace(OWNED, owner_id=None), Role.DEVICE),
        (replace(ISSUED, owner_id=OWNER), Role.ISSUER),
        (replace(PLATFORM, owner_id=OWNER), Role.PLATFORM),
    ],
)
def test_a_device_has_an_owner_and_nobody_else_has(body: GrantBody, role: Role) -> None:
    refuses("GRANT_ROLE", lambda: open_grant(seal(body, ROOT).signed, ROOT.public, role))


@pytest.mark.parametrize(
    ("signed", "reason"),
    [
        (seal(ISSUED, FOREIGN).signed, "GRANT_INVALID"),
        (seal(ISSUED, ISSUER).signed, "GRANT_INVALID"),
        (seal(VOUCHER, ROOT).signed, "GRANT_INVALID"),
        (b"", "MALFORMED"),
        (b"x", "MALFORMED"),
        (ISSUER_GRANT.signed + b"\x08\x01", "MALFORMED"),
    ],
)
def test_only_what_the_root_signed_is_a_grant(signed: bytes, reason: str) -> None:
    refuses(reason, lambda: open_grant(signed, ROOT.public, Role.ISSUER))


@pytest.mark.parametrize(("second", "valid"), [(BEGIN - 1, False), (BEGIN, True), (1_500, True), (END, True), (END + 1, False)])
def test_a_grant_holds_within_its_time_both_ends_included(second: int, valid: bool) -> None:
    if valid:
        require_valid_at(ISSUER_GRANT, of_unix_s(UnixS(second)))
        return
    refuses("GRANT_EXPIRED", lambda: require_valid_at(ISSUER_GRANT, of_unix_s(UnixS(second))))


def test_what_a_provider_issues_is_under_its_own_grant_and_key() -> None:
    assert open_issued(SelectionBody, seal(SELECTION, ISSUER).signed, ISSUER_GRANT, OWNER).body == SELECTION
    refuses("GRANT_SUBJECT", lambda: open_issued(SelectionBody, b"", ISSUER_GRANT, ProviderId(b"x" * 16)))
    refuses("SIGNATURE_INVALID", lambda: open_issued(SelectionBody, seal(SELECTION, OTHER).signed, ISSUER_GRANT, OWNER))
    refuses("SIGNATURE_INVALID", lambda: open_issued(OfferBody, seal(SELECTION, ISSUER).signed, ISSUER_GRANT, OWNER))


@pytest.mark.parametrize(
    ("voucher", "grant", "reason"),
    [
        (seal(VOUCHER, ISSUER), seal(ISSUED, FOREIGN), "GRANT_INVALID"),
        (seal(VOUCHER, DEVICE_KEY), DEVICE_GRANT, "GRANT_ROLE"),
        (seal(VOUCHER, OTHER), seal(PLATFORM, ROOT), "GRANT_ROLE"),
        (seal(VOUCHER, OTHER), ISSUER_GRANT, "SIGNATURE_INVALID"),
        (seal(VOUCHER, HOLDER), ISSUER_GRANT, "SIGNATURE_INVALID"),
        (seal(SELECTION, ISSUER), ISSUER_GRANT, "SIGNATURE_INVALID"),
    ],
)
def test_a_voucher_is_signed_by_a_granted_issuing_key(voucher: Any, grant: Any, reason: str) -> None:
    refuses(reason, lambda: open_presentable(present(voucher, grant), ROOT.public))


def test_a_good_voucher_opens_offline() -> None:
    opened = open_presentable(present(seal(VOUCHER, ISSUER), ISSUER_GRANT), ROOT.public)
    assert (opened.voucher.body, opened.grant.body) == (VOUCHER, ISSUED)


# Receipts


@dataclass(frozen=True)
class Session:
    """What goes into a session's receipts; each test alters one thing."""

    device_key: SigningKey = DEVICE_KEY
    challenge_key: SigningKey = DEVICE_KEY
    holder: SigningKey = HOLDER
    releaser: SigningKey = HOLDER
    challenge_device: DeviceId = DEVICE
    receipt_device: DeviceId = DEVICE
    presented_device: DeviceId = DEVICE
    presented_nonce: Nonce = NONCE
    start_time: Instant = AT
    cause: EndCause = EndCause.HOLDER
    released: bool = True
    ended_order: OrderId = ORDER
    released_order: OrderId = ORDER
    released_device: DeviceId = DEVICE

    def start(self) -> Verified[StartReceiptBody]:
        quality = ClockQuality.SYNCHRONIZED
        challenge = ChallengeBody(self.challenge_device, NONCE, AT, quality, Epoch(1), DeviceState.FREE)
        presentation = PresentationBody(Digest(b"v" * 32), self.presented_device, self.presented_nonce)
        body = StartReceiptBody(
            device_id=self.receipt_device,
            order_id=ORDER,
            serial=Serial(1),
            epoch=Epoch(1),
            receipt_number=Number(1),
            challenge=seal(challenge, self.challenge_key).signed,
            presentation=seal(presentation, self.holder).signed,
            start_time=self.start_time,
            clock_quality=quality,
            register_wh=EnergyWh(1),
            soc_pct=None,
            soh_pct=None,
        )
        return seal(body, self.device_key)

    def end(self) -> Verified[EndReceiptBody]:
        release = seal(ReleaseBody(self.released_device, NONCE, self.released_order), self.releaser).signed
        body = EndReceiptBody(
            device_id=DEVICE,
            order_id=self.ended_order,
            receipt_number=Number(2),
            start_receipt=self.start().signed,
            release=release if self.released else None,
            cause=self.cause,
            end_time=AT,
            clock_quality=ClockQuality.SYNCHRONIZED,
            elapsed_s=DurationS(1),
            register_wh=EnergyWh(1),
            readings_count=Number(0),
            readings_head=Digest(b"r" * 32),
            soc_pct=None,
            soh_pct=None,
        )
        return seal(body, self.device_key)


STRANGE = DeviceId(b"x" * 16)


def test_a_good_start_receipt_opens() -> None:
    opened = open_start_receipt(Session().start().signed, DEVICE_GRANT, HOLDER.public)
    assert opened.voucher_hash == b"v" * 32
    assert device_of_receipt(opened.receipt.signed) == DEVICE


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        (Session(device_key=OTHER), "SIGNATURE_INVALID"),
        (Session(device_key=ISSUER), "SIGNATURE_INVALID"),
        (Session(challenge_key=OTHER), "SIGNATURE_INVALID"),
        (Session(receipt_device=STRANGE), "GRANT_SUBJECT"),
        (Session(challenge_device=STRANGE), "GRANT_SUBJECT"),
        (Session(start_time=Instant(999_000_000)), "GRANT_EXPIRED"),
        (Session(start_time=Instant(2_001_000_000)), "GRANT_EXPIRED"),
        (Session(holder=OTHER), "PRESENTATION_MISSING"),
        (Session(holder=DEVICE_KEY), "PRESENTATION_MISSING"),
        (Session(holder=ISSUER), "PRESENTATION_MISSING"),
        (Session(presented_nonce=Nonce(b"x" * 16)), "PRESENTATION_MISSING"),
        (Session(presented_device=STRANGE), "PRESENTATION_MISSING"),
    ],
)
def test_a_start_is_the_devices_with_the_holders_answer_to_it(session: Session, reason: str) -> None:
    refuses(reason, lambda: open_start_receipt(session.start().signed, DEVICE_GRANT, HOLDER.public))


@pytest.mark.parametrize(
    "session",
    [
        Session(),
        Session(cause=EndCause.OWNER, releaser=ISSUER),
        Session(cause=EndCause.DURATION_CAP, released=False),
    ],
    ids=lambda session: session.cause.name,
)
def test_a_good_end_receipt_opens(session: Session) -> None:
    opened = open_end_receipt(session.end().signed, DEVICE_GRANT, HOLDER.public, ISSUER.public)
    assert opened.start.receipt.digest == session.start().digest


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        (Session(releaser=OTHER), "STRANGER"),
        (Session(releaser=ISSUER), "STRANGER"),
        (Session(cause=EndCause.OWNER), "STRANGER"),
        (Session(released=False), "STRANGER"),
        (Session(cause=EndCause.OWNER, released=False), "STRANGER"),
        (Session(cause=EndCause.DURATION_CAP), "STRANGER"),
        (Session(released_order=OrderId(b"x" * 16)), "STRANGER"),
        (Session(released_device=STRANGE), "STRANGER"),
        (Session(ended_order=OrderId(b"x" * 16)), "RECEIPT_FOREIGN"),
        (Session(holder=OTHER), "PRESENTATION_MISSING"),
        (Session(device_key=OTHER), "SIGNATURE_INVALID"),
    ],
)
def test_an_end_is_the_devices_with_the_release_that_its_cause_needs(session: Session, reason: str) -> None:
    refuses(reason, lambda: open_end_receipt(session.end().signed, DEVICE_GRANT, HOLDER.public, ISSUER.public))


def test_an_owners_release_needs_the_owners_key() -> None:
    session = Session(cause=EndCause.OWNER, releaser=ISSUER)
    refuses("STRANGER", lambda: open_end_receipt(session.end().signed, DEVICE_GRANT, HOLDER.public, None))


def reading(number: int, previous: Digest, signer: SigningKey = DEVICE_KEY, device: DeviceId = DEVICE) -> Verified[ReadingBody]:
    quality = ClockQuality.RELATIVE
    body = ReadingBody(device, ORDER, Number(number), previous, AT, quality, DurationS(1), EnergyWh(1), True, None)
    return seal(body, signer)


def test_readings_follow_one_another() -> None:
    first = reading(1, Digest(b"s" * 32))
    second, third = reading(2, first.digest), reading(3, first.digest)
    assert open_readings((first.signed, second.signed), DEVICE_GRANT) == (first, second)
    refuses("READING_GAP", lambda: open_readings((first.signed, third.signed), DEVICE_GRANT))
    refuses("READING_GAP", lambda: open_readings((first.signed, reading(2, second.digest).signed), DEVICE_GRANT))
    refuses("READING_GAP", lambda: open_readings((second.signed, first.signed), DEVICE_GRANT))
    refuses("SIGNATURE_INVALID", lambda: open_readings((reading(1, first.digest, OTHER).signed,), DEVICE_GRANT))
    strange = reading(1, first.digest, device=STRANGE).signed
    refuses("GRANT_SUBJECT", lambda: open_device_body(ReadingBody, strange, DEVICE_GRANT))
