"""What silence means: for each wait that may run out, what is decided then. DESIGN.md section 4, the table of silence."""

from cloud.domain import disputes, service
from cloud.domain.ending import charge_on_evidence
from cloud.domain.inbound import TimerFired
from cloud.domain.ledger import Amounts
from cloud.domain.matching import close, offers_ran_out, reopen
from cloud.domain.order import AssetHold, Decision, Facts, Order, Timer, Wait
from cloud.domain.settling import Rest, freed, let_go, settle
from energyshare.bodies import SilenceDecisionBody
from energyshare.records import replace
from energyshare.values import ChargeBasis, Instant, OrderState, later


def wait_ran_out(order: Order, message: TimerFired, sender: None, facts: Facts, now: Instant) -> Decision:
    """Decide what silence means, by what was waited for."""
    if order.timer is None or order.timer.wait != message.waited_for or order.timer.due > now:
        return Decision(order, "moved on")
    timer = order.timer
    match timer.wait:
        case Wait.OFFERS:
            return offers_ran_out(order, now)
        case Wait.OFFER_EXPIRY:
            return close(order, OrderState.EXPIRED, "OFFERS_EXPIRED", now)
        case Wait.VOUCHER:
            return reopen(order, "NO_VOUCHER", now)
        case Wait.START:
            return not_started(order, now)
        case Wait.END_OF_SUPPLY | Wait.CONFIRMATION:
            return settle(order, charge_on_evidence(order, facts), facts, now, silence=silence_of(order, timer, now))
        case Wait.RETURN:
            return charge_to_the_cap(order, timer, facts, now)
        case Wait.NOT_RETURNED:
            return let_go(order, "the deposit goes back", now)
        case Wait.SETTLEMENT_REQUEST:
            closed = close(order, OrderState.CANCELLED, "NO_SETTLEMENT_REQUEST", now)
            return replace(closed, asset=freed(order, facts))
        case Wait.SERVICE_ACKNOWLEDGEMENT | Wait.SERVICE_CONFIRMATION:
            return service.settle_unanswered(order, timer, silence_of(order, timer, now), facts, now)
        case Wait.RULING:
            return disputes.rule_by_default(order, silence_of(order, timer, now), facts, now)


def not_started(order: Order, now: Instant) -> Decision:
    """Free what a voucher that ran out unused held; where its asset is, its provider has to say."""
    state = OrderState.CANCELLED if order.cancel_reason else OrderState.EXPIRED
    closed = close(order, state, order.cancel_reason or "NOT_STARTED", now)
    return replace(closed, asset=AssetHold(order.offer.asset_id, None, unknown=True))


def charge_to_the_cap(order: Order, timer: Timer, facts: Facts, now: Instant) -> Decision:
    """Charge a battery that did not come back to its caps; its deposit stays held for its provider's statement."""
    charged = charge_on_evidence(order, facts, ChargeBasis.CAP)
    due = later(now, facts.settings.wait_not_returned_s)
    deposit = order.offer.deposit_minor
    is_held = deposit > 0 and not order.is_unsecured
    held = Amounts(deposit_minor=deposit)
    rest = Rest(held, OrderState.SETTLED, Timer(Wait.NOT_RETURNED, due)) if is_held else None
    return settle(order, charged, facts, now, silence=silence_of(order, timer, now), rest=rest)


def silence_of(order: Order, timer: Timer, now: Instant) -> SilenceDecisionBody:
    """Say what was waited for, until when, and when it was decided."""
    return SilenceDecisionBody(order.id, timer.wait, timer.due, now)
