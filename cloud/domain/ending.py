"""From the request to end to the charge record, and what silence decides."""

from dataclasses import replace

from cloud.domain import ledger
from cloud.domain.delivery import begin, require_start_of
from cloud.domain.inbound import EndConfirmedBy, EndReported, EndRequested, TimerFired
from cloud.domain.matching import close, offers_ran_out, reopen
from cloud.domain.order import (
    AssetHold,
    BillingFacts,
    Decision,
    Facts,
    Order,
    Send,
    Sender,
    SettledNotice,
    Statements,
    StoredPart,
    Timer,
    Wait,
)
from energyshare.bodies import ChargeRecordBody, GrantBody, OpenedEnd, PartHash, SilenceDecisionBody, Verified
from energyshare.charging import Charge, Evidence, best_basis, charge, lowered
from energyshare.errors import Reason, Rejected
from energyshare.messages import ConfirmEnd
from energyshare.values import ChargeBasis, Instant, Minor, Money, OrderState, PartKind, later

CHARGED_PARTS = (
    PartKind.OFFER,
    PartKind.SELECTION,
    PartKind.VOUCHER,
    PartKind.ISSUER_GRANT,
    PartKind.DEVICE_GRANT,
    PartKind.START_RECEIPT,
    PartKind.READING,
    PartKind.END_RECEIPT,
    PartKind.END_REQUEST,
    PartKind.END_CONFIRMATION,
)
"""What a charge record names, in this order."""


def request_end(order: Order, message: EndRequested, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Take a user's request to end; with an end receipt it also proves the start."""
    request = message.request.body
    given = message.end.receipt.digest if message.end else None
    if request.order_id != order.id or request.end_receipt_hash != given:
        raise Rejected(Reason.RECEIPT_FOREIGN)
    if message.end is None:
        return _ask_for_receipt(order, message, now)
    ended, parts = _end_by(order, message.end, message.grant, facts, now)
    part = StoredPart(PartKind.END_REQUEST, message.request.digest, message.request.signed)
    asked = replace(ended, end_request_hash=message.request.digest)
    return _ask_to_confirm(asked, message, message.end, facts, now, (*parts, part))


def report_end(order: Order, message: EndReported, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Take an end receipt from the provider."""
    ended, parts = _end_by(order, message.end, message.grant, facts, now)
    return _ask_to_confirm(ended, message, message.end, facts, now, parts)


def add_end(order: Order, message: EndReported | EndRequested, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Take a second report of the end that is being confirmed as nothing new."""
    if message.end is not None and message.end.receipt.digest != order.end_hash:
        raise Rejected(Reason.RECEIPT_CONFLICT)
    return Decision(order, "reported before")


def confirm_end(order: Order, message: EndConfirmedBy, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Stop billing and settle as the provider confirmed; without a receipt it may, and only it, let the readings count."""
    confirmation = message.confirmation
    if order.end_hash is None and order.end_request_hash is None:
        raise Rejected(Reason.WRONG_STATE, state=order.state.name)
    if confirmation.body.order_id != order.id or confirmation.body.end_receipt_hash != order.end_hash:
        raise Rejected(Reason.CONFIRMATION_FOREIGN)
    part = StoredPart(PartKind.END_CONFIRMATION, confirmation.digest, confirmation.signed)
    return settle(order, facts, now, part=part, total_minor_max=confirmation.body.total_minor_max)


def wait_ran_out(order: Order, message: TimerFired, sender: None, facts: Facts, now: Instant) -> Decision:
    """Decide what silence means, by what was waited for."""
    if order.timer is None or order.timer.wait != message.waited_for or order.timer.due > now:
        return Decision(order, "moved on")
    match order.timer.wait:
        case Wait.OFFERS:
            return offers_ran_out(order, now)
        case Wait.OFFER_EXPIRY:
            return close(order, OrderState.EXPIRED, "OFFERS_EXPIRED", now)
        case Wait.VOUCHER:
            return reopen(order, "NO_VOUCHER", now)
        case Wait.START:
            closed = close(order, OrderState.EXPIRED, "NOT_STARTED", now)
            return replace(closed, asset=AssetHold(order.offer.asset_id, None, unknown=True))
        case Wait.END_OF_SUPPLY | Wait.CONFIRMATION:
            return settle(order, facts, now, silence=_silence(order, order.timer, now))
        case Wait.RETURN:
            return settle(order, facts, now, silence=_silence(order, order.timer, now), basis=ChargeBasis.CAP)


def settle(
    order: Order,
    facts: Facts,
    now: Instant,
    *,
    part: StoredPart | None = None,
    total_minor_max: Minor | None = None,
    silence: SilenceDecisionBody | None = None,
    basis: ChargeBasis | None = None,
) -> Decision:
    """Bill an order from its evidence, pay it from its hold, and free its asset."""
    billing, supply = facts.billing, order.supply
    assert billing is not None
    assert supply is not None
    evidence = _until_the_end(billing.evidence, order)
    charged = lowered(charge(evidence, basis or best_basis(evidence), supply.started), total_minor_max)
    shares = ledger.divide(charged.excl_vat_minor, charged.incl_vat_minor, Minor(0), facts.settings.commission_bp)
    assert shares.total_minor <= order.hold_minor, (order.id, charged)
    offer = order.offer
    transfers = ledger.settle(order.id, order.attempts, order.account_id, offer.provider_id, order.hold_minor, shares, now)
    parts = (part,) if part else ()
    record = _charge_record(order, charged, _part_hashes(order, (*billing.parts, *parts), evidence), now)
    notice = SettledNotice(
        part.signed if part else None,
        _signed(billing, PartKind.END_RECEIPT, order.end_hash),
        next((p.signed for p in billing.parts if p.kind is PartKind.DEVICE_GRANT), None),
    )
    paid = Money(charged.currency, shares.total_minor)
    settled = replace(order.to(OrderState.SETTLED, None), total_minor=shares.total_minor, hold_minor=Minor(0))
    return Decision(
        settled,
        f"{charged.basis.name}: {charged.energy_wh} Wh, {charged.duration_s} s, {paid} paid",
        (Send(order.user, notice), Send(order.provider, notice)),
        parts,
        transfers,
        AssetHold(offer.asset_id, None, unknown=charged.basis is ChargeBasis.CAP),
        statements=Statements(record, silence),
    )


def _end_by(
    order: Order, end: OpenedEnd, grant: Verified[GrantBody] | None, facts: Facts, now: Instant
) -> tuple[Order, tuple[StoredPart, ...]]:
    """Record an end receipt of this order's session; a start that was not reported yet is recorded with it."""
    if grant is None:
        raise Rejected(Reason.GRANT_INVALID)
    parts: tuple[StoredPart, ...] = ()
    if order.supply is None:
        order, parts = begin(order, end.start, grant, facts.settings, now)
    require_start_of(order, end.start, grant)
    supply, receipt = order.supply, end.receipt.body
    assert supply is not None
    if end.start.receipt.digest != supply.start_hash:
        raise Rejected(Reason.RECEIPT_CONFLICT)
    if receipt.register_wh < supply.last_register_wh or receipt.elapsed_s < supply.last_elapsed_s:
        raise Rejected(Reason.READING_IMPLAUSIBLE)
    part = StoredPart(PartKind.END_RECEIPT, end.receipt.digest, end.receipt.signed)
    return replace(order, end_hash=end.receipt.digest), (*parts, part)


def _ask_to_confirm(
    order: Order,
    message: EndRequested | EndReported,
    end: OpenedEnd,
    facts: Facts,
    now: Instant,
    parts: tuple[StoredPart, ...],
) -> Decision:
    due = later(now, facts.settings.wait_confirmation_s)
    ending = order.to(OrderState.ENDING, Timer(Wait.CONFIRMATION, due))
    request = message.request.signed if isinstance(message, EndRequested) else None
    assert order.supply is not None
    assert message.grant is not None
    note = f"{end.receipt.body.register_wh - order.supply.register_wh} Wh"
    confirm = ConfirmEnd(request, end.receipt.signed, due, message.grant.signed)
    return Decision(ending, note, (Send(order.provider, confirm),), parts)


def _ask_for_receipt(order: Order, message: EndRequested, now: Instant) -> Decision:
    """Pass on a request to end that comes without a receipt: the order ends with its device's, waited for as before.

    Were silence to settle it, whoever keeps a device from being read would pay for nothing. Source: ADR-0005.
    """
    if order.supply is None or order.timer is None:
        raise Rejected(Reason.WRONG_STATE, state=order.state.name)
    if order.end_request_hash is not None:
        return Decision(order, "asked before")
    part = StoredPart(PartKind.END_REQUEST, message.request.digest, message.request.signed)
    ask = ConfirmEnd(message.request.signed, None, order.timer.due, None)
    asked = replace(order, end_request_hash=message.request.digest, ending_since=now)
    return Decision(asked, "the device's receipt is waited for", (Send(order.provider, ask),), (part,))


def _until_the_end(evidence: Evidence, order: Order) -> Evidence:
    """Leave out readings past the end receipt, or past the arrival of a request to end that came without one."""
    end = evidence.end
    if end is not None:
        within = (r for r in evidence.readings if r.elapsed_s <= end.elapsed_s and r.register_wh <= end.register_wh)
        return replace(evidence, readings=tuple(within))
    if order.ending_since is None or order.supply is None:
        return evidence
    until_s = (order.ending_since - order.supply.started) // 1_000_000 + 1
    return replace(evidence, readings=tuple(r for r in evidence.readings if r.elapsed_s <= until_s))


def _part_hashes(order: Order, parts: tuple[StoredPart, ...], evidence: Evidence) -> tuple[PartHash, ...]:
    """Name the parts that a bill follows from: one of each kind, of readings the last one used."""
    chosen = {
        PartKind.OFFER: order.selected,
        PartKind.SELECTION: order.selection_hash,
        PartKind.END_RECEIPT: order.end_hash,
        PartKind.END_REQUEST: order.end_request_hash,
    }

    def is_used(part: StoredPart) -> bool:
        if part.kind is PartKind.READING:
            return part.number == len(evidence.readings)
        return part.kind in CHARGED_PARTS and part.digest == chosen.get(part.kind, part.digest)

    return tuple(PartHash(p.kind, p.digest) for p in sorted(filter(is_used, parts), key=lambda p: p.kind))


def _charge_record(order: Order, charged: Charge, parts: tuple[PartHash, ...], now: Instant) -> ChargeRecordBody:
    return ChargeRecordBody(
        order_id=order.id,
        kind=order.offer.kind,
        provider_id=order.offer.provider_id,
        currency=charged.currency,
        basis=charged.basis,
        parts=parts,
        start_time=charged.start_time,
        duration_s=charged.duration_s,
        energy_wh=charged.energy_wh,
        lines=charged.lines,
        excl_vat_minor=charged.excl_vat_minor,
        incl_vat_minor=charged.incl_vat_minor,
        deposit_claimed_minor=Minor(0),
        hold_minor=order.hold_minor,
        settled_time=now,
        corrects_hash=None,
    )


def _silence(order: Order, timer: Timer, now: Instant) -> SilenceDecisionBody:
    return SilenceDecisionBody(order.id, timer.wait, timer.due, now)


def _signed(billing: BillingFacts, kind: PartKind, digest: bytes | None) -> bytes | None:
    return next((p.signed for p in billing.parts if p.kind is kind and p.digest == digest), None)
