"""The payment module: checks every bill against the evidence that the user holds, and prices a session while it runs.

An order may have several charge records: each but the first names the one that it corrects, and the one that no other
corrects counts.
"""

from collections.abc import Mapping, Sequence

from energyshare.bodies import (
    ChargeRecordBody,
    EndReceiptBody,
    GrantBody,
    OfferBody,
    Part,
    ReadingBody,
    SelectionBody,
    StartReceiptBody,
    VoucherBody,
)
from energyshare.charging import Evidence, best_basis, charge
from energyshare.errors import Reason, Rejected
from energyshare.evidence import Proof, verify_bundle
from energyshare.signing import key_id
from energyshare.values import Digest, KeyId, Kind, Minor, OrderId, PartKind, PublicKey
from energyshare.wire import Bundle, peek, take_apart
from terminals.journal import Journal, KeptPart


def records(journal: Journal, order_id: OrderId) -> list[tuple[Digest, ChargeRecordBody]]:
    """List an order's charge records by hash, each after the one that it corrects."""
    kept = {part.digest: peek(ChargeRecordBody, part.signed) for part in journal.parts(order_id, PartKind.CHARGE_RECORD)}
    return sorted(kept.items(), key=lambda one: (_corrections(kept, one[1]), one[1].settled_time))


def bundle_of(journal: Journal, order_id: OrderId) -> Bundle:
    """Collect the evidence that the latest charge record names, and that record.

    Raises: Rejected{PART_MISSING} before there is one, {BILL_BASIS} when there are two and neither corrects the other.
    """
    chain = records(journal, order_id)
    if not chain:
        raise Rejected(Reason.PART_MISSING, part="CHARGE_RECORD")
    _require_one_chain([record for _, record in chain])
    latest, record = chain[-1]
    parts = journal.parts(order_id)
    signers = {part.digest: take_apart(part.signed).key_id for part in parts if part.kind is PartKind.CHARGE_RECORD}
    signer = signers[latest]
    named = {(part.kind, part.hash) for part in record.parts}
    named |= {(PartKind.CHARGE_RECORD, digest) for digest, _ in chain if signers[digest] == signer}
    return Bundle(order_id, tuple(Part(part.kind, part.signed) for part in parts if _belongs(part, named, signer)))


def prove(journal: Journal, order_id: OrderId, root: PublicKey) -> Proof:
    """Check an order's latest bill; raises Rejected with the first thing that does not hold."""
    return verify_bundle(bundle_of(journal, order_id), root)


def running(journal: Journal, order_id: OrderId) -> tuple[Evidence, Minor] | None:
    """Give the metered session so far and what an end at the last reading would cost; None before there is one."""
    kept = {part.kind: part.signed for part in journal.parts(order_id)}
    if not {PartKind.SELECTION, PartKind.VOUCHER, PartKind.START_RECEIPT, PartKind.READING} <= kept.keys():
        return None
    chosen = peek(SelectionBody, kept[PartKind.SELECTION]).offer_hash
    offer = next(peek(OfferBody, part.signed) for part in journal.parts(order_id, PartKind.OFFER) if part.digest == chosen)
    if offer.asset.kind is Kind.SERVICE:
        return None
    start = peek(StartReceiptBody, kept[PartKind.START_RECEIPT])
    evidence = Evidence(
        offer=offer,
        voucher=peek(VoucherBody, kept[PartKind.VOUCHER]),
        start=start,
        readings=tuple(peek(ReadingBody, part.signed) for part in journal.parts(order_id, PartKind.READING)),
        end=peek(EndReceiptBody, kept[PartKind.END_RECEIPT]) if PartKind.END_RECEIPT in kept else None,
    )
    return evidence, charge(evidence, best_basis(evidence), start.start_time).incl_vat_minor


def _corrections(kept: Mapping[Digest, ChargeRecordBody], record: ChargeRecordBody) -> int:
    """Count the records before one in its chain, which can't loop: each holds the hash of the one before."""
    before, count = record.corrects_hash, 0
    while before is not None:
        count += 1
        before = kept[before].corrects_hash if before in kept else None
    return count


def _require_one_chain(found: Sequence[ChargeRecordBody]) -> None:
    """Raise unless one record at most corrects none, and each is corrected by one other at most."""
    corrected = [record.corrects_hash for record in found]
    if len(set(corrected)) != len(corrected):
        raise Rejected(Reason.BILL_BASIS, problem="two bills, and neither corrects the other")


def _belongs(part: KeptPart, named: set[tuple[PartKind, Digest]], signer: KeyId) -> bool:
    if part.kind is PartKind.PLATFORM_GRANT:
        return key_id(peek(GrantBody, part.signed).public_key) == signer
    return part.kind is PartKind.READING or (part.kind, part.digest) in named
