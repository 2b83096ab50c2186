"""Disputes and rulings: only the disputed part is held, and one ruling ends it."""

from cloud.domain import ledger
from cloud.domain.inbound import RulingMade
from cloud.domain.ledger import Amounts
from cloud.domain.order import Billed, Decision, Disputed, Facts, Order, Send, Sender, Side, Timer, Wait
from cloud.domain.settling import correct, rate_of, rebilled
from energyshare.bodies import RulingBody, SilenceDecisionBody
from energyshare.errors import Reason, Rejected
from energyshare.messages import Dispute
from energyshare.records import replace
from energyshare.values import ChargeBasis, Instant, Minor, Money, OrderState, later


def dispute(order: Order, message: Dispute, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Hold what a user disputes of a settled bill at the provider, until a ruling."""
    bill = order.bill
    if bill is None or message.charge_record_hash != bill.digest:
        raise Rejected(Reason.DISPUTE_LATE, problem="another charge record counts")
    if order.hold_minor or now > later(bill.settled, facts.settings.dispute_within_s):
        raise Rejected(Reason.DISPUTE_LATE)
    if message.disputed_minor > bill.total_minor:
        raise Rejected(Reason.DISPUTE_AMOUNT, most=str(bill.total_minor))
    account = ledger.provider_account(order.offer.provider_id)
    there = facts.balances.get(account, ledger.Balance(account)).available_minor
    held = _within(_earned_of(order, message.disputed_minor, facts), max(0, there))
    claim = Disputed(Side.USER, message.disputed_minor, is_settled=True, reason=message.reason)
    due = Timer(Wait.RULING, later(now, facts.settings.wait_ruling_s))
    transfers = ledger.hold(order.id, order.attempts + 1, account, held, now)
    attempts = order.attempts + bool(transfers)
    disputed = replace(order.to(OrderState.DISPUTED, due), dispute=claim, held=held, attempts=attempts)
    return Decision(
        disputed,
        f"{Money(facts.settings.currency, message.disputed_minor)}: {message.reason}",
        (Send(order.provider, message),),
        transfers=transfers,
    )


def rule(order: Order, message: RulingMade, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """End a dispute as the operator rules."""
    assert order.dispute is not None
    if not 0 <= message.charged_minor <= order.dispute.amount_minor:
        raise Rejected(Reason.DISPUTE_AMOUNT, most=str(order.dispute.amount_minor))
    return _ruled(order, message.charged_minor, message.reason, None, facts, now)


def rule_by_default(order: Order, silence: SilenceDecisionBody, facts: Facts, now: Instant) -> Decision:
    """End a dispute on which nobody ruled: by the end receipt or the quote; without one the disputed part goes back."""
    return _ruled(order, _by_default(order), "nobody ruled within the time", silence, facts, now)


def _by_default(order: Order) -> Minor:
    dispute, bill = order.dispute, order.bill
    assert dispute is not None
    assert bill is not None
    if dispute.by is Side.PROVIDER:
        return Minor(0)  # a claim beyond the end receipt
    match bill.evidence_basis:
        case ChargeBasis.END_RECEIPT:
            return dispute.amount_minor
        case ChargeBasis.QUOTE:
            undisputed = bill.total_minor - (dispute.amount_minor if dispute.is_settled else 0)
            return Minor(min(dispute.amount_minor, max(0, order.offer.quote_minor - undisputed)))
        case _:
            return Minor(0)


def _ruled(
    order: Order, charged: Minor, reason: str, silence: SilenceDecisionBody | None, facts: Facts, now: Instant
) -> Decision:
    assert order.dispute is not None
    assert order.bill is not None
    assert facts.billing is not None
    incl_vat, deposit = _totals(order.bill, order.dispute, charged)
    whole = replace(rebilled(order, facts.billing, incl_vat), basis=ChargeBasis.RULING)
    ruling = RulingBody(order.id, charged, reason, now)
    return correct(order, whole, facts, now, deposit_claimed=deposit, ruling=ruling, silence=silence)


def _totals(bill: Billed, dispute: Disputed, charged: Minor) -> tuple[Minor, Minor]:
    """Give the bill with VAT and what is claimed of the deposit, as a ruling leaves them."""
    if dispute.by is Side.PROVIDER:
        return bill.incl_vat_minor, charged
    if not dispute.is_settled:
        return Minor(bill.incl_vat_minor + charged), bill.deposit_claimed_minor
    back = dispute.amount_minor - charged
    of_deposit = min(back, bill.deposit_claimed_minor)
    return Minor(bill.incl_vat_minor - (back - of_deposit)), Minor(bill.deposit_claimed_minor - of_deposit)


def _earned_of(order: Order, disputed: Minor, facts: Facts) -> Amounts:
    """Give what the provider would have to give back if all that is disputed went back."""
    bill = order.bill
    assert bill is not None
    assert facts.billing is not None
    incl_vat, deposit = _totals(bill, Disputed(Side.USER, disputed, is_settled=True, reason=""), Minor(0))
    left = rebilled(order, facts.billing, incl_vat)
    bp = rate_of(bill, facts)
    before = ledger.divide(bill.excl_vat_minor, bill.incl_vat_minor, bill.deposit_claimed_minor, bp)
    lost = before - ledger.divide(left.excl_vat_minor, left.incl_vat_minor, deposit, bp)
    return Amounts(Minor(max(0, lost.provider_minor)), Minor(lost.deposit_minor))


def _within(wanted: Amounts, most: int) -> Amounts:
    """Lower amounts to what is there; the deposit comes first."""
    deposit = min(wanted.deposit_minor, most)
    return Amounts(Minor(min(wanted.price_minor, most - deposit)), Minor(deposit))
