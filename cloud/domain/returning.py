"""Batteries that did not come back: the deposit is claimed only by a statement of the provider."""

from cloud.domain.ending import charge_on_evidence
from cloud.domain.inbound import NotReturnedStated
from cloud.domain.order import Decision, Facts, Order, Sender, StoredPart, Timer, Wait
from cloud.domain.settling import correct, settle
from cloud.domain.silence import silence_of
from energyshare.errors import Reason, Rejected
from energyshare.values import ChargeBasis, Instant, PartKind, later


def state_not_returned(order: Order, message: NotReturnedStated, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Claim the deposit: at once with the charge to the caps when the time to return has just run out, or on top of it."""
    statement = message.statement
    timer = _overdue(order, statement.body.stated_time, now)
    if statement.body.order_id != order.id:
        raise Rejected(Reason.RECEIPT_FOREIGN)
    part = StoredPart(PartKind.NOT_RETURNED, statement.digest, statement.signed)
    charged = charge_on_evidence(order, facts, ChargeBasis.CAP)
    deposit = order.offer.deposit_minor
    if timer.wait is Wait.NOT_RETURNED:
        return correct(order, charged, facts, now, parts=(part,), deposit_claimed=deposit)
    silence = silence_of(order, timer, now)
    return settle(order, charged, facts, now, parts=(part,), silence=silence, deposit_claimed=deposit)


def _overdue(order: Order, stated: Instant, now: Instant) -> Timer:
    """Give what is waited for, once a battery's cap and grace have passed."""
    timer = order.timer
    if timer is None or order.is_unsecured or timer.wait not in (Wait.RETURN, Wait.NOT_RETURNED):
        raise Rejected(Reason.NOT_OVERDUE)
    assert order.supply is not None
    due = later(order.supply.started, order.offer.duration_s_max + order.offer.return_grace_s)
    if stated < due or (timer.wait is Wait.RETURN and now < timer.due):
        raise Rejected(Reason.NOT_OVERDUE, due=str(due))
    return timer
