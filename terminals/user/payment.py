"""The payment module: checks every bill against the evidence that the user holds, and prices a session while it runs."""

from energyshare.bodies import (
    ChargeRecordBody,
    EndReceiptBody,
    OfferBody,
    ReadingBody,
    SelectionBody,
    StartReceiptBody,
    Verified,
    VoucherBody,
)
from energyshare.charging import Evidence, best_basis, charge
from energyshare.credentials import open_grant
from energyshare.errors import Reason, Rejected
from energyshare.evidence import Proof, verify_bundle
from energyshare.messages import Settled
from energyshare.signing import key_id
from energyshare.values import Digest, Minor, OrderId, PartKind, PublicKey, Role
from energyshare.wire import Bundle, Part, digest_of, open_signed, peek, take_apart
from terminals.journal import Journal, KeptPart


def keep_bill(journal: Journal, order_id: OrderId, settled: Settled, root: PublicKey) -> Verified[ChargeRecordBody]:
    """Keep a charge record with what came along; raises Rejected when the platform did not sign it."""
    platform = open_grant(settled.platform_grant, root, Role.PLATFORM)
    record = open_signed(ChargeRecordBody, settled.charge_record, platform.body.public_key)
    named = {part.kind: part.hash for part in record.body.parts}
    came = {
        PartKind.END_CONFIRMATION: settled.confirmation,
        PartKind.SILENCE_DECISION: settled.silence_decision,
        PartKind.END_RECEIPT: settled.end_receipt,
        PartKind.DEVICE_GRANT: settled.device_grant,
    }
    for kind, signed in came.items():
        if signed is not None and kind in named:
            journal.add_part(order_id, kind, named[kind], signed)
    journal.add_part(order_id, PartKind.PLATFORM_GRANT, platform.digest, settled.platform_grant)
    journal.add_part(order_id, PartKind.CHARGE_RECORD, record.digest, settled.charge_record)
    if settled.end_receipt is not None and journal.part(order_id, PartKind.START_RECEIPT) is None:
        start = peek(EndReceiptBody, settled.end_receipt).start_receipt
        journal.add_part(order_id, PartKind.START_RECEIPT, Digest(digest_of(StartReceiptBody, start)), start)
    return record


def bundle_of(journal: Journal, order_id: OrderId) -> Bundle:
    """Collect the evidence that a charge record names, and the record; raises Rejected{PART_MISSING} before there is one."""
    parts = journal.parts(order_id)
    record = next((part for part in parts if part.kind is PartKind.CHARGE_RECORD), None)
    if record is None:
        raise Rejected(Reason.PART_MISSING, part="CHARGE_RECORD")
    named = {(part.kind, part.hash) for part in _record(record).parts}
    return Bundle(order_id, tuple(Part(part.kind, part.signed) for part in parts if _belongs(part, named)))


def prove(journal: Journal, order_id: OrderId, root: PublicKey) -> Proof:
    """Check an order's bill; raises Rejected with the first thing that does not hold."""
    return verify_bundle(bundle_of(journal, order_id), root)


def running(journal: Journal, order_id: OrderId) -> tuple[Evidence, Minor] | None:
    """Give the session so far and what an end at the last reading would cost; None before there is one."""
    kept = {part.kind: part.signed for part in journal.parts(order_id)}
    selection = kept.get(PartKind.SELECTION)
    if selection is None or not {PartKind.VOUCHER, PartKind.START_RECEIPT, PartKind.READING} <= kept.keys():
        return None
    chosen = peek(SelectionBody, selection).offer_hash
    evidence = Evidence(
        offer=next(peek(OfferBody, p.signed) for p in journal.parts(order_id, PartKind.OFFER) if p.digest == chosen),
        voucher=peek(VoucherBody, kept[PartKind.VOUCHER]),
        start=peek(StartReceiptBody, kept[PartKind.START_RECEIPT]),
        readings=tuple(peek(ReadingBody, part.signed) for part in journal.parts(order_id, PartKind.READING)),
        end=peek(EndReceiptBody, kept[PartKind.END_RECEIPT]) if PartKind.END_RECEIPT in kept else None,
    )
    assert evidence.start is not None
    return evidence, charge(evidence, best_basis(evidence), evidence.start.start_time).incl_vat_minor


def keep_end(journal: Journal, order_id: OrderId, end_receipt: bytes) -> Digest:
    """Keep an end receipt that was checked; gives its hash."""
    hashed = Digest(digest_of(EndReceiptBody, end_receipt))
    journal.add_part(order_id, PartKind.END_RECEIPT, hashed, end_receipt)
    return hashed


def issuer_key(journal: Journal, order_id: OrderId, root: PublicKey) -> PublicKey | None:
    """Give the issuing key under which an order's voucher was signed."""
    grants = [open_grant(part.signed, root, Role.ISSUER) for part in journal.parts(order_id, PartKind.ISSUER_GRANT)]
    voucher = journal.part(order_id, PartKind.VOUCHER)
    hint = take_apart(voucher.signed).key_id if voucher else None
    return next((g.body.public_key for g in grants if key_id(g.body.public_key) == hint), None)


def _record(part: KeptPart) -> ChargeRecordBody:
    return peek(ChargeRecordBody, part.signed)


def _belongs(part: KeptPart, named: set[tuple[PartKind, Digest]]) -> bool:
    if part.kind in (PartKind.READING, PartKind.PLATFORM_GRANT, PartKind.CHARGE_RECORD):
        return True
    return (part.kind, part.digest) in named
