"""Calling an order off once its voucher is out: money and asset follow the voucher, which can't be called back.

A cancellation then is a request. It ends the order when the device says that it burned the voucher unused, or when the
voucher has run out; a start within its window wins.
"""

from cloud.domain.delivery import conflict, other_side, require_device_of
from cloud.domain.inbound import SerialClosedReported
from cloud.domain.matching import close
from cloud.domain.order import Decision, Facts, Order, Send, Sender, Side, StoredPart
from energyshare.errors import Reason, Rejected
from energyshare.messages import Cancel
from energyshare.records import replace
from energyshare.values import Instant, OrderState, PartKind


def ask_to_cancel(order: Order, message: Cancel, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Remember who wants to cancel, and tell the other side, which may burn the voucher at its device."""
    if sender.side is Side.PROVIDER and sender.terminal != order.provider:
        raise Rejected(Reason.ORDER_MOVED_ON)
    asked = replace(order, cancel_reason=order.cancel_reason or message.reason)
    note = f"{message.reason}; the voucher is out, so hold and asset stay until it is burned or has run out"
    return Decision(asked, note, (Send(other_side(order, sender), message),))


def close_serial(order: Order, message: SerialClosedReported, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """End an order whose voucher its device has burned unused."""
    part = _closed_part(order, message)
    closed = close(order, OrderState.CANCELLED, order.cancel_reason or "VOUCHER_CLOSED", now)
    ended = replace(closed.order, closed_hash=message.statement.digest)
    grant = StoredPart(PartKind.DEVICE_GRANT, message.grant.digest, message.grant.signed)
    return replace(closed, order=ended, parts=(part, grant))


def close_serial_after_the_end(
    order: Order, message: SerialClosedReported, sender: Sender, facts: Facts, now: Instant
) -> Decision:
    """Take note that a voucher of an order that is over was burned; one that had been used contradicts its receipt."""
    if order.authorization is None:
        raise Rejected(Reason.ORDER_MOVED_ON)
    part = _closed_part(order, message)
    if order.supply is not None:
        return conflict(order, part)
    if order.closed_hash is not None:
        return Decision(order, "reported before")
    return Decision(replace(order, closed_hash=message.statement.digest), "the voucher was burned unused", parts=(part,))


def contradict_start(order: Order, message: SerialClosedReported, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Put a device aside that says it burned a voucher which it also used."""
    return conflict(order, _closed_part(order, message))


def _closed_part(order: Order, message: SerialClosedReported) -> StoredPart:
    statement, authorization = message.statement.body, order.authorization
    require_device_of(order, message.grant)
    if authorization is None or (statement.order_id, statement.device_id, statement.serial, statement.epoch) != (
        order.id,
        order.offer.device_id,
        authorization.serial,
        authorization.epoch,
    ):
        raise Rejected(Reason.RECEIPT_FOREIGN)
    return StoredPart(PartKind.SERIAL_CLOSED, message.statement.digest, message.statement.signed)
