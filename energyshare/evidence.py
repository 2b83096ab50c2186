"""Whether a bill follows from signed evidence: what the user's payment module, a provider and an auditor check alike.

Works from a `Bundle` and the platform root's key, with no network and no database. Signatures first, from the root down; then
that the charge record names exactly these parts; then that its amounts follow from tariff and session, to the minor unit. The
first thing that does not hold is raised with its reason.
Source: docs/evidence.md, where the rules stand in this order.
"""

from itertools import pairwise

from msgspec import Struct

from energyshare.agreement import require_agreed, terms_of
from energyshare.amending import Agreed, agreed_work
from energyshare.bodies import (
    ChargeRecordBody,
    GrantBody,
    OfferBody,
    SelectionBody,
    SettlementAnswerBody,
    Verified,
    VoucherBody,
)
from energyshare.bundle import Parts, about, chain_of, read_bundle
from energyshare.charging import Charge, Evidence, hold_of
from energyshare.credentials import open_grant, open_issued, require_valid_at
from energyshare.errors import Reason, Rejected
from energyshare.finality import Outcome, served, supplied
from energyshare.opening import Keys, Opened, open_all
from energyshare.question import Question
from energyshare.receipts import session_of
from energyshare.signing import Label, digest
from energyshare.tariff import TariffError, tariff_of
from energyshare.values import ChargeBasis, Kind, Minor, PartKind, PublicKey, Role
from energyshare.wire import Bundle, open_signed

CODES = {
    Reason.SIGNATURE_INVALID: "SIGNATURE",
    Reason.GRANT_INVALID: "SIGNATURE",
    Reason.MALFORMED: "MALFORMED",
    Reason.PART_MISSING: "MISSING",
    Reason.PART_HASH: "HASH",
    Reason.PART_UNEXPECTED: "UNEXPECTED",
    Reason.ORDER_FOREIGN: "ORDER",
}
"""What the code of a refusal says after the part's name; the other reasons are codes by themselves."""


class Proof(Struct, frozen=True):
    """A bill that follows from its evidence; `before` is the record that it corrects, if the bundle has it."""

    record: Verified[ChargeRecordBody]
    before: ChargeRecordBody | None
    outcome: Outcome
    evidence: Evidence
    agreed: Agreed
    keys: Keys
    opened: Opened

    @property
    def charge(self) -> Charge:
        """What is billed."""
        return self.outcome.charged


def verify_file(data: bytes, root: PublicKey) -> Proof:
    """Check a bundle as it stands in a file, where no correction is without the record that it corrects.

    Raises: Rejected with the reason of the first thing that does not hold.
    """
    proof = verify_bundle(read_bundle(data), root)
    corrected = proof.opened.all(ChargeRecordBody)
    if sum(one.body.corrects_hash is None for one in corrected) != 1:
        raise Rejected(Reason.PART_MISSING, part="CHARGE_RECORD", problem="the first one that was corrected is not there")
    return proof


def verify_bundle(bundle: Bundle, root: PublicKey) -> Proof:
    """Check a bundle and recompute its bill.

    Raises: Rejected with the reason of the first thing that does not hold.
    """
    try:
        return _verified(bundle, root)
    except TariffError as problem:
        raise Rejected(Reason.OFFER_TARIFF, problem=str(problem)) from None
    except (OverflowError, ValueError) as problem:  # calendars end with the year 9999
        raise Rejected(Reason.BILL_SESSION, problem=f"its times are in no calendar: {problem}") from None


def code_of(refusal: Rejected) -> str:
    """Give the stable name of what does not hold: OFFER_SIGNATURE, READING_GAP, BILL_TOTAL."""
    part = refusal.metadata.get("part")
    return f"{part}_{CODES[refusal.reason]}" if part and refusal.reason in CODES else refusal.reason.value


def _verified(bundle: Bundle, root: PublicKey) -> Proof:
    parts = Parts(bundle)
    platform = _grant(parts, PartKind.PLATFORM_GRANT, root, Role.PLATFORM)
    records = _records(parts, platform)
    record, before = records[-1], records[-2].body if len(records) > 1 else None
    if record.body.order_id != bundle.order_id:
        raise Rejected(Reason.ORDER_FOREIGN, part="CHARGE_RECORD")
    parts.require_expected(record.body.kind)
    parts.require_named(record.body)
    issuer = _grant(parts, PartKind.ISSUER_GRANT, root, Role.ISSUER)
    device = _grant(parts, PartKind.DEVICE_GRANT, root, Role.DEVICE)
    with about(PartKind.OFFER):
        offer = open_issued(OfferBody, parts.one(PartKind.OFFER), issuer, record.body.provider_id)
    with about(PartKind.VOUCHER):
        voucher = open_signed(VoucherBody, parts.one(PartKind.VOUCHER), issuer.body.public_key)
    holder = voucher.body.holder_key
    keys = Keys(root, platform.body.public_key, issuer.body.public_key, device.body.public_key, holder)
    opened = open_all(parts, keys, bundle.order_id)
    agreed = _require_selected(record.body, offer, opened)
    with about(PartKind.VOUCHER):
        require_agreed(voucher.body, issuer.body, terms_of(offer.body, holder))
    evidence = session_of(record.body, offer.body, voucher, device, parts, opened, keys)
    outcome = _require_billed(Question(record.body, before, evidence, agreed, opened))
    return Proof(record, before, outcome, evidence, agreed, keys, opened)


def _grant(parts: Parts, kind: PartKind, root: PublicKey, role: Role) -> Verified[GrantBody]:
    with about(kind):
        return open_grant(parts.one(kind), root, role)


def _records(parts: Parts, platform: Verified[GrantBody]) -> tuple[Verified[ChargeRecordBody], ...]:
    """Check the charge records, the one that counts last; each but the first has to correct the one before."""
    with about(PartKind.CHARGE_RECORD):
        signed = chain_of(parts.all(PartKind.CHARGE_RECORD))
        records = tuple(open_signed(ChargeRecordBody, one, platform.body.public_key) for one in signed)
    if not records:
        raise Rejected(Reason.PART_MISSING, part="CHARGE_RECORD")
    for before, after in pairwise(records):
        if after.body.corrects_hash != before.digest:
            raise Rejected(Reason.BILL_BASIS, part="CHARGE_RECORD", problem="two bills, and neither corrects the other")
        _require_correction(before.body, after.body)
    with about(PartKind.PLATFORM_GRANT):
        require_valid_at(platform, records[-1].body.settled_time)
    return records


def _require_correction(before: ChargeRecordBody, after: ChargeRecordBody) -> None:
    """Raise unless a record corrects another's amounts and nothing else."""
    kept = ("order_id", "kind", "provider_id", "currency", "start_time", "hold_minor")
    changed = [name for name in kept if getattr(before, name) != getattr(after, name)]
    if changed or before.settled_time > after.settled_time:
        raise Rejected(Reason.BILL_BASIS, problem="it corrects the bill of another session", changed=", ".join(changed))


def _require_selected(record: ChargeRecordBody, offer: Verified[OfferBody], opened: Opened) -> Agreed:
    """Raise unless the holder selected this offer for this order, and the hold is what it gives."""
    selection = opened.one(SelectionBody).body
    if selection.offer_hash != offer.digest or offer.body.provider_id != record.provider_id:
        raise Rejected(Reason.OFFER_FOREIGN)
    if digest(Label.TARIFF, offer.body.tariff) != offer.body.asset.tariff_hash:
        raise Rejected(Reason.VOUCHER_TARIFF)
    if record.kind is not offer.body.asset.kind:
        raise Rejected(Reason.BILL_BASIS, kind=record.kind.name)
    if not tariff_of(offer.body.tariff).currency == offer.body.currency == selection.currency == record.currency:
        raise Rejected(Reason.CURRENCY_MISMATCH)
    agreed = agreed_work(offer.body, opened)
    if hold_of(offer.body) != selection.hold_minor or selection.hold_minor + agreed.extra_hold_minor != record.hold_minor:
        needed = hold_of(offer.body) + agreed.extra_hold_minor
        raise Rejected(Reason.BILL_HOLD, needed=str(needed), given=str(record.hold_minor))
    return agreed


def _require_billed(asked: Question) -> Outcome:
    """Derive the bill by the rules of its kind, and raise unless the record says the same."""
    record = asked.record
    outcome = (served if record.kind is Kind.SERVICE else supplied)(asked)
    charged = outcome.charged
    if (charged.duration_s, charged.energy_wh) != (record.duration_s, record.energy_wh):
        raise Rejected(Reason.BILL_SESSION, duration_s=str(charged.duration_s), energy_wh=str(charged.energy_wh))
    amounts = (charged.lines, charged.excl_vat_minor, charged.incl_vat_minor)
    if amounts != (record.lines, record.excl_vat_minor, record.incl_vat_minor):
        raise Rejected(Reason.BILL_TOTAL, derived=str(charged.incl_vat_minor), billed=str(record.incl_vat_minor))
    if record.incl_vat_minor + record.deposit_claimed_minor > record.hold_minor:
        raise Rejected(Reason.BILL_HOLD, most=str(record.hold_minor))
    if asked.before is not None and record.incl_vat_minor > _most_after(asked, asked.before):
        raise Rejected(Reason.BILL_TOTAL, problem="a correction charges more than the bill that it corrects")
    return outcome


def _most_after(asked: Question, before: ChargeRecordBody) -> Minor:
    """Give the most that a correction may bill: only what was refused from the start can come on top of it."""
    answer = asked.opened.maybe(SettlementAnswerBody)
    is_ruled = asked.record.basis is ChargeBasis.RULING and before.basis is ChargeBasis.QUOTE
    return Minor(before.incl_vat_minor + (answer.body.disputed_minor if is_ruled and answer else 0))
