"""From the request to end to the charge record: how supply and rentals end, and what a provider may say to it."""

from cloud.domain.delivery import begin, conflict, require_start_of
from cloud.domain.inbound import EndConfirmedBy, EndRefusedBy, EndReported, EndRequested
from cloud.domain.ledger import Amounts
from cloud.domain.order import Decision, Disputed, Facts, Order, Send, Sender, Side, StoredPart, Timer, Wait
from cloud.domain.settling import Rest, correct, let_go, settle, until_the_end
from energyshare.bodies import GrantBody, OpenedEnd, Verified
from energyshare.charging import Charge, best_basis, charge, lowered
from energyshare.errors import Reason, Rejected
from energyshare.messages import ConfirmEnd
from energyshare.records import replace
from energyshare.values import ChargeBasis, Digest, Instant, Kind, Minor, OrderState, PartKind, later


def request_end(order: Order, message: EndRequested, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Take a user's request to end; with an end receipt it also proves the start.

    Another terminal of the account asks from afar: the provider, as owner, may release in its place.
    """
    require_not_service(order)
    if sender.side is Side.ACCOUNT and message.end is None:
        return _ask_for_another(order, message)
    _require_about(order, message)
    if message.end is None:
        return _ask_for_receipt(order, message, now)
    if _starts_otherwise(order, message.end):
        return _conflicting_end(order, message.end, message.grant)
    ended, parts = _end_by(order, message.end, message.grant, facts, now)
    part = StoredPart(PartKind.END_REQUEST, message.request.digest, message.request.signed)
    asked = replace(ended, end_request_hash=message.request.digest)
    return _ask_to_confirm(asked, message, message.end, facts, now, (*parts, part))


def report_end(order: Order, message: EndReported, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Take an end receipt from the provider."""
    require_not_service(order)
    if _starts_otherwise(order, message.end):
        return _conflicting_end(order, message.end, message.grant)
    ended, parts = _end_by(order, message.end, message.grant, facts, now)
    return _ask_to_confirm(ended, message, message.end, facts, now, parts)


def add_end(order: Order, message: EndReported | EndRequested, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Take a second report of the end that is being confirmed as nothing new; another receipt contradicts it."""
    require_not_service(order)
    if message.end is None or message.end.receipt.digest == order.end_hash:
        return Decision(order, "reported before")
    return _conflicting_end(order, message.end, message.grant)


def end_after_the_end(
    order: Order, message: EndReported | EndRequested, sender: Sender, facts: Facts, now: Instant
) -> Decision:
    """Take an end receipt that comes after the order was over.

    One of an order that ran out still counts. One dated before a battery was charged as not returned, or before a supply was
    billed on what was known, reverses that by credit. Anything else comes late.
    """
    require_not_service(order)
    if order.authorization is None:
        raise Rejected(Reason.ORDER_MOVED_ON)
    if message.end is None:
        return Decision(order, "came late")
    if order.bill is not None:
        return _late_end(order, message.end, message.grant, facts, now)
    if order.closed_hash is not None or order.supply is not None:
        return _conflicting_end(order, message.end, message.grant)
    revived = replace(order, is_unsecured=True)
    if isinstance(message, EndRequested):
        return request_end(revived, message, sender, facts, now)
    return report_end(revived, message, sender, facts, now)


def confirm_end(order: Order, message: EndConfirmedBy, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Stop billing and settle as the provider confirmed; without a receipt it may, and only it, let the readings count."""
    require_not_service(order)
    confirmation = message.confirmation
    _require_answer_to(order, confirmation.body.order_id, confirmation.body.end_receipt_hash)
    part = StoredPart(PartKind.END_CONFIRMATION, confirmation.digest, confirmation.signed)
    charged = lowered(charge_on_evidence(order, facts), confirmation.body.total_minor_max)
    return settle(order, charged, facts, now, parts=(part,))


def refuse_end(order: Order, message: EndRefusedBy, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Settle what the evidence gives; what the provider claims of the deposit on top stays held for a ruling."""
    require_not_service(order)
    refusal = message.refusal
    _require_answer_to(order, refusal.body.order_id, refusal.body.end_receipt_hash)
    if refusal.body.claimed_minor > order.offer.deposit_minor or order.is_unsecured:
        raise Rejected(Reason.CLAIM_ABOVE_DEPOSIT, deposit=str(order.offer.deposit_minor))
    part = StoredPart(PartKind.END_REFUSAL, refusal.digest, refusal.signed)
    due = Timer(Wait.RULING, later(now, facts.settings.wait_ruling_s))
    claim = Disputed(Side.PROVIDER, refusal.body.claimed_minor, is_settled=False, reason=refusal.body.reason)
    rest = Rest(Amounts(deposit_minor=refusal.body.claimed_minor), OrderState.DISPUTED, due, claim)
    return settle(order, charge_on_evidence(order, facts), facts, now, parts=(part,), rest=rest)


def charge_on_evidence(order: Order, facts: Facts, basis: ChargeBasis | None = None) -> Charge:
    """Derive what an order comes to from its stored evidence, on the best basis unless one is given."""
    assert facts.billing is not None
    assert order.supply is not None
    evidence = until_the_end(facts.billing.evidence, order)
    return charge(evidence, basis or best_basis(evidence), order.supply.started)


def require_not_service(order: Order) -> None:
    """Raise for a service: it ends by its provider's settlement request."""
    if order.selected is not None and order.offer.kind is Kind.SERVICE:
        raise Rejected(Reason.WRONG_STATE, kind="SERVICE", ends="by the provider's settlement request")


def _require_about(order: Order, message: EndRequested) -> None:
    request = message.request.body
    given = message.end.receipt.digest if message.end else None
    if request.order_id != order.id or request.end_receipt_hash != given:
        raise Rejected(Reason.RECEIPT_FOREIGN)


def _require_answer_to(order: Order, order_id: bytes, end_receipt_hash: Digest | None) -> None:
    if order.end_hash is None and order.end_request_hash is None:
        raise Rejected(Reason.WRONG_STATE, state=order.state.name)
    if order_id != order.id or end_receipt_hash != order.end_hash:
        raise Rejected(Reason.CONFIRMATION_FOREIGN)


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
    if receipt.register_wh < supply.last_register_wh or receipt.elapsed_s < supply.last_elapsed_s:
        raise Rejected(Reason.READING_IMPLAUSIBLE)
    return replace(order, end_hash=end.receipt.digest), (*parts, _part_of(end))


def _starts_otherwise(order: Order, end: OpenedEnd) -> bool:
    """Say whether an end receipt repeats another start than the recorded one."""
    return order.supply is not None and end.start.receipt.digest != order.supply.start_hash


def _conflicting_end(order: Order, end: OpenedEnd, grant: Verified[GrantBody] | None) -> Decision:
    if grant is None:
        raise Rejected(Reason.GRANT_INVALID)
    require_start_of(order, end.start, grant)
    return conflict(order, _part_of(end))


def _part_of(end: OpenedEnd) -> StoredPart:
    return StoredPart(PartKind.END_RECEIPT, end.receipt.digest, end.receipt.signed)


def _late_end(order: Order, end: OpenedEnd, grant: Verified[GrantBody] | None, facts: Facts, now: Instant) -> Decision:
    """Bill an order again by an end receipt that was not known, where that is less."""
    assert order.bill is not None
    assert facts.billing is not None
    known = {part.digest for part in facts.billing.parts if part.kind is PartKind.END_RECEIPT}
    if end.receipt.digest in known:
        return Decision(order, "came late")
    if known or _starts_otherwise(order, end):
        return _conflicting_end(order, end, grant)
    ended, parts = _end_by(order, end, grant, facts, now)
    if order.state is not OrderState.SETTLED or end.receipt.body.end_time > order.bill.settled:
        return _kept(order, "an end receipt dated after the bill is kept", parts, now)
    billing = replace(facts.billing, evidence=replace(facts.billing.evidence, end=end.receipt.body))
    charged = charge_on_evidence(ended, replace(facts, billing=billing))
    is_damaged = any(part.kind is PartKind.END_REFUSAL for part in facts.billing.parts)
    claimed = order.bill.deposit_claimed_minor if is_damaged else Minor(0)  # what was ruled of a damage is owed all the same
    if charged.incl_vat_minor <= order.bill.incl_vat_minor:
        return correct(ended, charged, replace(facts, billing=billing), now, parts=parts, deposit_claimed=claimed)
    if not order.bill.deposit_claimed_minor or is_damaged:
        return _kept(order, "an end receipt that would bill more is kept", parts, now)
    as_billed = charge_on_evidence(order, facts, order.bill.evidence_basis)
    return correct(order, as_billed, facts, now, parts=parts, deposit_claimed=Minor(0))


def _kept(order: Order, note: str, parts: tuple[StoredPart, ...], now: Instant) -> Decision:
    """Keep an end receipt beside the bill; a deposit that waits goes back, for what it stands for has come back."""
    if order.timer is not None and order.timer.wait is Wait.NOT_RETURNED:
        return let_go(order, f"{note}; the deposit goes back", now, parts)
    return Decision(order, note, parts=parts)


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


def _ask_for_another(order: Order, message: EndRequested) -> Decision:
    """Pass on a request of another terminal than the holder's: it is no evidence, but the owner may release by it."""
    if message.request.body.order_id != order.id or message.request.body.end_receipt_hash is not None:
        raise Rejected(Reason.RECEIPT_FOREIGN)
    if order.supply is None or order.timer is None:
        raise Rejected(Reason.WRONG_STATE, state=order.state.name)
    ask = ConfirmEnd(message.request.signed, None, order.timer.due, None, message.request.key)
    return Decision(order, "another terminal of the account asks to end", (Send(order.provider, ask),))
