"""The signed parts of an order that a user's terminal keeps; each is checked from the platform root down before.

All of it runs inside the journal's transaction of its caller. A part that does not hold raises Rejected and is not kept.
"""

from typing import Any

from energyshare.agreement import require_agreed, terms_of
from energyshare.bodies import (
    Body,
    ChargeRecordBody,
    EndReceiptBody,
    GrantBody,
    OfferBody,
    OpenedVoucher,
    Part,
    RulingBody,
    SerialClosedBody,
    StartReceiptBody,
    Verified,
    VoucherBody,
)
from energyshare.charging import hold_of
from energyshare.credentials import open_grant, open_issued, open_presentable, open_readings, open_start_receipt
from energyshare.errors import Reason, Rejected
from energyshare.messages import Settled
from energyshare.signing import Label, SigningKey, digest, key_id
from energyshare.values import Currency, Digest, Minor, OrderId, PartKind, ProviderId, PublicKey, Role
from energyshare.wire import decode_presentable, digest_of, open_signed, peek, seal, take_apart
from terminals.journal import Journal


def keep_offer(
    journal: Journal, order_id: OrderId, signed: bytes, grant: bytes, root: PublicKey, currency: Currency
) -> tuple[Verified[OfferBody], Minor]:
    """Keep an offer; gives it, and the most that it can cost. Raises: Rejected; TariffError."""
    issuer = open_grant(grant, root, Role.ISSUER)
    offer = open_issued(OfferBody, signed, issuer, ProviderId(issuer.body.subject_id))
    body = offer.body
    if body.order_id != order_id or bytes(body.provider_id) != bytes(issuer.body.subject_id):
        raise Rejected(Reason.OFFER_FOREIGN)
    if body.currency != currency:
        raise Rejected(Reason.CURRENCY_MISMATCH, given=body.currency)
    if digest(Label.TARIFF, body.tariff) != body.asset.tariff_hash:
        raise Rejected(Reason.OFFER_TARIFF)
    hold = hold_of(body)
    journal.add_part(order_id, PartKind.OFFER, offer.digest, signed)
    journal.add_part(order_id, PartKind.ISSUER_GRANT, issuer.digest, grant)
    return offer, hold


def keep_voucher(
    journal: Journal, order_id: OrderId, presentable: bytes, offer: OfferBody, holder: PublicKey, root: PublicKey
) -> OpenedVoucher:
    """Keep a voucher that is the selected offer's, and its holder's."""
    opened = open_presentable(presentable, root)
    require_agreed(opened.voucher.body, opened.grant.body, terms_of(offer, holder))
    signed = decode_presentable(presentable)
    journal.add_part(order_id, PartKind.VOUCHER, opened.voucher.digest, signed.voucher)
    return opened


def keep_start(journal: Journal, order_id: OrderId, start_receipt: bytes, grant: bytes, root: PublicKey) -> bool:
    """Keep a start receipt of the order's voucher; says whether it was new."""
    if journal.part(order_id, PartKind.START_RECEIPT) is not None:
        return False
    voucher = journal.part(order_id, PartKind.VOUCHER)
    if voucher is None:
        raise Rejected(Reason.RECEIPT_FOREIGN)
    device = open_grant(grant, root, Role.DEVICE)
    start = open_start_receipt(start_receipt, device, peek(VoucherBody, voucher.signed).holder_key)
    if start.voucher_hash != voucher.digest:
        raise Rejected(Reason.RECEIPT_FOREIGN)
    journal.add_part(order_id, PartKind.START_RECEIPT, start.receipt.digest, start_receipt)
    journal.add_part(order_id, PartKind.DEVICE_GRANT, device.digest, grant)
    return True


def keep_readings(
    journal: Journal, order_id: OrderId, readings: tuple[bytes, ...], grant: bytes, root: PublicKey
) -> tuple[bytes, ...]:
    """Keep readings that are new, and give them."""
    device = open_grant(grant, root, Role.DEVICE)
    known = {part.digest for part in journal.parts(order_id, PartKind.READING)}
    new = [r for r in open_readings(readings, device) if r.digest not in known and r.body.order_id == order_id]
    for reading in new:
        journal.add_part(order_id, PartKind.READING, reading.digest, reading.signed, reading.body.number)
    return tuple(reading.signed for reading in new)


def keep_end(journal: Journal, order_id: OrderId, end_receipt: bytes) -> Digest:
    """Keep an end receipt that was checked; gives its hash."""
    hashed = Digest(digest_of(EndReceiptBody, end_receipt))
    journal.add_part(order_id, PartKind.END_RECEIPT, hashed, end_receipt)
    return hashed


def keep_closed(journal: Journal, order_id: OrderId, statement: bytes, grant: bytes) -> None:
    """Keep a device's statement, which was checked, that the order's voucher was burned."""
    journal.add_part(order_id, PartKind.SERIAL_CLOSED, Digest(digest_of(SerialClosedBody, statement)), statement)
    journal.add_part(order_id, PartKind.DEVICE_GRANT, Digest(digest_of(GrantBody, grant)), grant)


def keep_bill(journal: Journal, order_id: OrderId, settled: Settled, root: PublicKey) -> Verified[ChargeRecordBody]:
    """Keep a charge record of this order, and what came along of the parts that it names."""
    platform = open_grant(settled.platform_grant, root, Role.PLATFORM)
    record = open_signed(ChargeRecordBody, settled.charge_record, platform.body.public_key)
    if record.body.order_id != order_id:
        raise Rejected(Reason.RECEIPT_FOREIGN)
    named = {(part.kind, part.hash) for part in record.body.parts}
    for part in settled.parts:
        hashed = part_digest(part)
        if (part.kind, hashed) in named:
            journal.add_part(order_id, part.kind, hashed, part.signed)
    journal.add_part(order_id, PartKind.PLATFORM_GRANT, platform.digest, settled.platform_grant)
    journal.add_part(order_id, PartKind.CHARGE_RECORD, record.digest, settled.charge_record)
    end_receipt = settled.part(PartKind.END_RECEIPT)
    if end_receipt is not None and journal.part(order_id, PartKind.START_RECEIPT) is None:
        start = peek(EndReceiptBody, end_receipt).start_receipt
        journal.add_part(order_id, PartKind.START_RECEIPT, Digest(digest_of(StartReceiptBody, start)), start)
    return record


def keep_ruling(journal: Journal, order_id: OrderId, ruling: bytes, platform_grant: bytes, root: PublicKey) -> RulingBody:
    """Keep a ruling of this order; the platform's key is that of the home's grant, or of one that came with a bill."""
    grants = [platform_grant, *(part.signed for part in journal.parts(order_id, PartKind.PLATFORM_GRANT))]
    keys = [open_grant(grant, root, Role.PLATFORM).body.public_key for grant in grants]
    hint = take_apart(ruling).key_id
    opened = open_signed(RulingBody, ruling, next((key for key in keys if key_id(key) == hint), keys[0]))
    if opened.body.order_id != order_id:
        raise Rejected(Reason.RECEIPT_FOREIGN)
    journal.add_part(order_id, PartKind.RULING, opened.digest, ruling)
    return opened.body


def keep_own(journal: Journal, order_id: OrderId, kind: PartKind, body: Body, key: SigningKey) -> Verified[Any]:
    """Sign a body of ours and keep it; of several of one kind the last one signed is the latest."""
    sealed = seal(body, key)
    journal.add_part(order_id, kind, sealed.digest, sealed.signed, len(journal.parts(order_id, kind)) + 1)
    return sealed


def issuer_key(journal: Journal, order_id: OrderId, root: PublicKey) -> PublicKey:
    """Give the issuing key under which an order's voucher was signed; raises Rejected{PART_MISSING} before there is one."""
    grants = [open_grant(part.signed, root, Role.ISSUER) for part in journal.parts(order_id, PartKind.ISSUER_GRANT)]
    voucher = journal.part(order_id, PartKind.VOUCHER)
    hint = take_apart(voucher.signed).key_id if voucher else None
    for grant in grants:
        if key_id(grant.body.public_key) == hint:
            return grant.body.public_key
    raise Rejected(Reason.PART_MISSING, part="VOUCHER")


def part_digest(part: Part) -> Digest:
    """Hash a part of the evidence, as charge records name it. Raises: Rejected{MALFORMED}."""
    label = Label.GRANT if part.kind.name.endswith("_GRANT") else Label[part.kind.name]
    return digest(label, take_apart(part.signed).payload)


def kept_offer(journal: Journal, order_id: OrderId, offer_hash: bytes | None) -> OfferBody:
    """Give an offer that is kept; raises Rejected{OFFER_UNKNOWN} for another, and for none."""
    for part in journal.parts(order_id, PartKind.OFFER):
        if part.digest == offer_hash:
            return peek(OfferBody, part.signed)
    raise Rejected(Reason.OFFER_UNKNOWN)
