"""Bills and what they move: the first charge record of an order, and those that correct it.

A bill is posted from the order's hold; what is disputed, or may still be claimed of a deposit, is held anew in the same
transaction. A correcting record states the whole bill as it stands from then on, and only the difference moves.
Source: DESIGN.md section 6; ADR-0008.
"""

from msgspec import Struct

from cloud.domain import ledger
from cloud.domain.ledger import Amounts, Shares, Transfer
from cloud.domain.order import (
    AssetHold,
    Billed,
    BillingFacts,
    Decision,
    Disputed,
    Facts,
    Order,
    RulingNotice,
    Send,
    SettledNotice,
    Statements,
    StoredPart,
    Timer,
)
from energyshare.bodies import ChargeRecordBody, Part, PartHash, RulingBody, SilenceDecisionBody
from energyshare.charging import Charge, Evidence, charge, lowered, service_charge
from energyshare.records import replace
from energyshare.values import ChargeBasis, Digest, Instant, Minor, Money, OrderState, PartKind

RULED_OUT = (PartKind.PLATFORM_GRANT, PartKind.SERIAL_CLOSED, PartKind.RULING, PartKind.CHARGE_RECORD)
"""Parts that a charge record does not name; a ruling is named by its own record only."""
UNHEARD_OF = (ChargeBasis.CAP, ChargeBasis.FLAT)
"""Bases on which nobody knows where an asset is, unless its provider has confirmed the end."""
UNSIGNED = Digest(b"")
NOTHING = Minor(0)


class Rest(Struct, frozen=True):
    """What stays held after a bill, in which state, for how long, and because of which dispute."""

    amounts: Amounts
    state: OrderState
    timer: Timer
    dispute: Disputed | None = None


def settle(
    order: Order,
    charged: Charge,
    facts: Facts,
    now: Instant,
    *,
    parts: tuple[StoredPart, ...] = (),
    silence: SilenceDecisionBody | None = None,
    deposit_claimed: Minor = NOTHING,
    rest: Rest | None = None,
) -> Decision:
    """Bill an order for the first time, pay it from its hold, and free its asset."""
    assert facts.billing is not None
    commission_bp = facts.settings.commission_bp
    shares = _shares(charged, deposit_claimed, commission_bp)
    held = rest.amounts if rest else ledger.NONE
    assert shares.total_minor + held.total_minor <= order.agreed_hold_minor, (order.id, charged)
    settled = replace(
        order.to(rest.state if rest else OrderState.SETTLED, rest.timer if rest else None),
        total_minor=shares.total_minor,
        held=held,
        attempts=order.attempts + (held != ledger.NONE),
        bill=_billed(1, charged, charged.basis, deposit_claimed, now, commission_bp),
        dispute=rest.dispute if rest else None,
    )
    record = _record(settled, charged, (*facts.billing.parts, *parts), facts.billing, now, deposit_claimed, None)
    return Decision(
        settled,
        _note(charged, shares, rest),
        _told(settled, facts.billing, parts),
        parts,
        (*_paid(order, shares, now), *_held_anew(settled, now)),
        freed(order, facts, is_away=silence is not None and charged.basis in UNHEARD_OF),
        statements=Statements(record, silence),
    )


def correct(
    order: Order,
    charged: Charge,
    facts: Facts,
    now: Instant,
    *,
    parts: tuple[StoredPart, ...] = (),
    deposit_claimed: Minor,
    ruling: RulingBody | None = None,
    silence: SilenceDecisionBody | None = None,
) -> Decision:
    """Replace an order's bill by another one and move the difference; nothing stays held or disputed."""
    assert facts.billing is not None
    assert order.bill is not None
    commission_bp = rate_of(order.bill, facts)
    shares = _shares(charged, deposit_claimed, commission_bp)
    basis = order.bill.evidence_basis if ruling else charged.basis
    since = order.bill.settled if ruling else now  # a ruling gives no more time to dispute
    settled = replace(
        order.to(OrderState.SETTLED, None),
        total_minor=shares.total_minor,
        held=ledger.NONE,
        bill=_billed(order.bill.number + 1, charged, basis, deposit_claimed, since, commission_bp),
        dispute=None,
    )
    record = _record(settled, charged, (*facts.billing.parts, *parts), facts.billing, now, deposit_claimed, order.bill.digest)
    ruled = tuple(Send(terminal, RulingNotice()) for terminal in order.both) if ruling else ()
    return Decision(
        settled,
        _correction_note(charged, shares, order.bill),
        (*ruled, *_told(settled, facts.billing, parts)),
        parts,
        _moved(order, shares - _shares_of(order.bill, commission_bp), now),
        statements=Statements(record, silence, ruling),
    )


def let_go(order: Order, note: str, now: Instant, parts: tuple[StoredPart, ...] = ()) -> Decision:
    """Give back the deposit of a settled order; its bill may be disputed from now on."""
    assert order.hold_minor
    assert order.bill is not None
    transfers = ledger.void(order.id, order.attempts, order.held_from, order.held, now)
    freed = replace(order.to(OrderState.SETTLED, None), held=ledger.NONE, bill=replace(order.bill, settled=now))
    return Decision(freed, note, parts=parts, transfers=transfers)


def rebilled(order: Order, billing: BillingFacts, incl_vat_minor: Minor) -> Charge:
    """Derive an order's bill again from its evidence, at another total with VAT."""
    assert order.bill is not None
    assert order.supply is not None
    if billing.request is not None:
        full = service_charge(billing.evidence.offer, billing.request, order.supply.started)
    else:
        evidence = until_the_end(billing.evidence, order)
        full = charge(evidence, order.bill.evidence_basis, order.supply.started)
    return lowered(full, incl_vat_minor)


def until_the_end(evidence: Evidence, order: Order) -> Evidence:
    """Leave out readings past the end receipt, or past the arrival of a request to end that came without one."""
    end = evidence.end
    if end is not None:
        within = (r for r in evidence.readings if r.elapsed_s <= end.elapsed_s and r.register_wh <= end.register_wh)
        return replace(evidence, readings=tuple(within))
    if order.ending_since is None or order.supply is None:
        return evidence
    until_s = (order.ending_since - order.supply.started) // 1_000_000 + 1
    return replace(evidence, readings=tuple(r for r in evidence.readings if r.elapsed_s <= until_s))


def rate_of(bill: Billed, facts: Facts) -> int:
    """Give the commission at which a bill was divided, in basis points."""
    return facts.settings.commission_bp if bill.commission_bp is None else bill.commission_bp


def _shares(charged: Charge, deposit_claimed: Minor, commission_bp: int) -> Shares:
    return ledger.divide(charged.excl_vat_minor, charged.incl_vat_minor, deposit_claimed, commission_bp)


def _shares_of(bill: Billed, commission_bp: int) -> Shares:
    return ledger.divide(bill.excl_vat_minor, bill.incl_vat_minor, bill.deposit_claimed_minor, commission_bp)


def _paid(order: Order, shares: Shares, now: Instant) -> tuple[Transfer, ...]:
    """Pay a first bill from the hold; without one it is owed."""
    out = ledger.pay_out(order.id, 1, order.offer.provider_id, shares, now)
    if not order.is_unsecured:
        due = Amounts(shares.price_minor, Minor(shares.deposit_minor))
        return (*ledger.post(order.id, order.attempts, order.held_from, order.held, due, now), *out)
    assert not shares.deposit_minor, "nothing is claimed where nothing was held"
    if not shares.price_minor:
        return ()
    return (ledger.owe(order.id, 1, order.account_id, shares.price_minor, now), *out)


def _held_anew(order: Order, now: Instant) -> tuple[Transfer, ...]:
    return ledger.hold(order.id, order.attempts, ledger.user_account(order.account_id), order.held, now)


def _moved(order: Order, difference: Shares, now: Instant) -> tuple[Transfer, ...]:
    """Move what a correction changes: from a hold, or back to the user."""
    assert order.bill is not None
    number = order.bill.number + 1
    left, due = difference, _above_zero(difference.price_minor, difference.deposit_minor)
    if order.dispute is not None and order.dispute.is_settled:
        lost = _above_zero(-difference.provider_minor, -difference.deposit_minor)
        due = Amounts(min(order.held.price_minor, lost.price_minor), min(order.held.deposit_minor, lost.deposit_minor))
        left = difference + Shares(due.price_minor, 0, 0, due.deposit_minor)
    ended = ledger.post(order.id, order.attempts, order.held_from, order.held, due, now)
    out = ledger.pay_out(order.id, number, order.offer.provider_id, left, now)
    back = _above_zero(-difference.price_minor, -difference.deposit_minor)
    return (*ended, *out, *ledger.refund(order.id, number, order.account_id, back, now))


def _above_zero(price_minor: int, deposit_minor: int) -> Amounts:
    return Amounts(Minor(max(0, price_minor)), Minor(max(0, deposit_minor)))


def _billed(
    number: int, charged: Charge, basis: ChargeBasis, deposit_claimed: Minor, now: Instant, commission_bp: int
) -> Billed:
    return Billed(number, UNSIGNED, basis, charged.excl_vat_minor, charged.incl_vat_minor, deposit_claimed, now, commission_bp)


def _record(
    order: Order,
    charged: Charge,
    parts: tuple[StoredPart, ...],
    billing: BillingFacts,
    now: Instant,
    deposit_claimed: Minor,
    corrects: Digest | None,
) -> ChargeRecordBody:
    return ChargeRecordBody(
        order_id=order.id,
        kind=order.offer.kind,
        provider_id=order.offer.provider_id,
        currency=charged.currency,
        basis=charged.basis,
        parts=_part_hashes(order, parts, until_the_end(billing.evidence, order)),
        start_time=charged.start_time,
        duration_s=charged.duration_s,
        energy_wh=charged.energy_wh,
        lines=charged.lines,
        excl_vat_minor=charged.excl_vat_minor,
        incl_vat_minor=charged.incl_vat_minor,
        deposit_claimed_minor=deposit_claimed,
        hold_minor=order.agreed_hold_minor,
        settled_time=now,
        corrects_hash=corrects,
    )


def _part_hashes(order: Order, parts: tuple[StoredPart, ...], evidence: Evidence) -> tuple[PartHash, ...]:
    """Name the parts that a bill follows from: one of each kind, of readings the last one used, of amendments all."""
    chosen = {
        PartKind.OFFER: order.selected,
        PartKind.SELECTION: order.selection_hash,
        PartKind.VOUCHER: order.authorization.digest if order.authorization else None,
        PartKind.START_RECEIPT: order.supply.start_hash if order.supply else None,
        PartKind.END_RECEIPT: order.end_hash,
        PartKind.END_REQUEST: order.end_request_hash,
    }

    def is_used(part: StoredPart) -> bool:
        if part.kind is PartKind.READING:
            return part.number == len(evidence.readings)
        if part.kind is PartKind.SILENCE_DECISION and part.number:
            return False  # it led to a ruling, which is named instead
        return part.kind not in RULED_OUT and part.digest == chosen.get(part.kind, part.digest)

    return tuple(PartHash(p.kind, p.digest) for p in sorted(filter(is_used, parts), key=lambda p: p.kind))


def _told(order: Order, billing: BillingFacts, parts: tuple[StoredPart, ...]) -> tuple[Send, ...]:
    """Tell both sides of a record, with the parts that one of them may lack."""
    known = (PartKind.READING, PartKind.CHARGE_RECORD, PartKind.OFFER, PartKind.SELECTION, PartKind.VOUCHER)
    brought = tuple(Part(p.kind, p.signed) for p in (*billing.parts, *parts) if p.kind not in known)
    notice = SettledNotice(brought, order.dispute.amount_minor if order.dispute else Minor(0))
    return tuple(Send(terminal, notice) for terminal in order.both)


def freed(order: Order, facts: Facts, *, is_away: bool = False) -> AssetHold | None:
    """Free the asset; where one is that was not heard of is unknown. One that is not ours any more is left alone."""
    if order.is_unsecured and (facts.asset is None or facts.asset.held_by != order.id):
        return None
    return AssetHold(order.offer.asset_id, None, unknown=is_away)


def _correction_note(charged: Charge, shares: Shares, before: Billed) -> str:
    now, then = (Money(charged.currency, minor) for minor in (shares.total_minor, before.total_minor))
    return f"{charged.basis.name}: {now} in all instead of {then}"


def _note(charged: Charge, shares: Shares, rest: Rest | None) -> str:
    what = f"{charged.energy_wh} Wh, {charged.duration_s} s"
    paid = Money(charged.currency, shares.total_minor)
    held = f", {Money(charged.currency, rest.amounts.total_minor)} stay held" if rest else ""
    return f"{charged.basis.name}: {what}, {paid} paid{held}"
