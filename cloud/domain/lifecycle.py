"""The life cycle of an order: one table, total over state and message.

    DEMANDED → SELECTED → AUTHORIZED → ACTIVE → ENDING → SETTLED, and CANCELLED, EXPIRED

Each entry of `TABLE` is an `Effect` (what it does, and where it may lead), a refusal with its reason, or `STALE`: the message
comes late and changes nothing. docs/order-states.md is drawn from it. `decide` looks a message up, checks that its sender may
say such a thing, and lets the effect decide; it is pure, and the only way in which an order changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from cloud.domain import delivery, ending, matching
from cloud.domain.inbound import (
    EndConfirmedBy,
    EndReported,
    EndRequested,
    OfferMade,
    OrderMessage,
    ReadingsReported,
    SelectionMade,
    StartReported,
    TimerFired,
    VoucherIssued,
)
from cloud.domain.order import Decision, Facts, Order, Sender, Side
from energyshare.errors import Reason, Rejected
from energyshare.messages import Cancel, Declined, Demand, VoucherRejected, Withdrawn
from energyshare.values import Instant, OrderState

S = OrderState
Handler = Callable[[Order, Any, Any, Facts, Instant], Decision]


@dataclass(frozen=True, slots=True)
class Effect:
    """A handler, and the states in which it may leave the order."""

    handle: Handler
    to: tuple[OrderState, ...]


@dataclass(frozen=True, slots=True)
class Stale:
    """The message comes late and changes nothing."""


STALE = Stale()
Entry = Effect | Reason | Stale

SIDES: Mapping[type, frozenset[Side]] = {
    Demand: frozenset({Side.USER}),
    OfferMade: frozenset({Side.PROVIDER}),
    Declined: frozenset({Side.PROVIDER}),
    Withdrawn: frozenset({Side.PROVIDER}),
    SelectionMade: frozenset({Side.USER}),
    VoucherIssued: frozenset({Side.PROVIDER}),
    VoucherRejected: frozenset({Side.USER}),
    StartReported: frozenset({Side.USER, Side.PROVIDER}),
    ReadingsReported: frozenset({Side.USER, Side.PROVIDER}),
    EndRequested: frozenset({Side.USER}),
    EndReported: frozenset({Side.PROVIDER}),
    EndConfirmedBy: frozenset({Side.PROVIDER}),
    Cancel: frozenset({Side.USER, Side.PROVIDER}),
    TimerFired: frozenset(),
}
"""Who may send what."""

ONLY_THE_SELECTED = (VoucherIssued, StartReported, ReadingsReported, EndReported, EndConfirmedBy)
"""What a provider may send only when its offer is the selected one."""

_ENDED: Mapping[type, Entry] = {
    Demand: Reason.ORDER_EXISTS,
    OfferMade: Reason.ORDER_MOVED_ON,
    Declined: STALE,
    Withdrawn: STALE,
    SelectionMade: Reason.ORDER_MOVED_ON,
    VoucherIssued: Reason.ORDER_MOVED_ON,
    VoucherRejected: STALE,
    StartReported: Reason.ORDER_MOVED_ON,
    ReadingsReported: Reason.ORDER_MOVED_ON,
    EndRequested: Reason.ORDER_MOVED_ON,
    EndReported: Reason.ORDER_MOVED_ON,
    EndConfirmedBy: Reason.ORDER_MOVED_ON,
    Cancel: Reason.ORDER_MOVED_ON,
    TimerFired: STALE,
}

TABLE: Mapping[OrderState, Mapping[type, Entry]] = {
    S.DEMANDED: {
        Demand: Reason.ORDER_EXISTS,
        OfferMade: Effect(matching.take_offer, (S.DEMANDED,)),
        Declined: Effect(matching.relay_decline, (S.DEMANDED,)),
        Withdrawn: Effect(matching.withdraw, (S.DEMANDED,)),
        SelectionMade: Effect(matching.select, (S.SELECTED,)),
        VoucherIssued: Reason.ORDER_MOVED_ON,
        VoucherRejected: STALE,
        StartReported: Reason.WRONG_STATE,
        ReadingsReported: Reason.WRONG_STATE,
        EndRequested: Reason.WRONG_STATE,
        EndReported: Reason.WRONG_STATE,
        EndConfirmedBy: Reason.WRONG_STATE,
        Cancel: Effect(matching.cancel, (S.CANCELLED, S.DEMANDED)),
        TimerFired: Effect(ending.wait_ran_out, (S.DEMANDED, S.EXPIRED)),
    },
    S.SELECTED: {
        Demand: Reason.ORDER_EXISTS,
        OfferMade: Reason.ORDER_MOVED_ON,
        Declined: STALE,
        Withdrawn: Reason.ORDER_MOVED_ON,
        SelectionMade: Reason.WRONG_STATE,
        VoucherIssued: Effect(delivery.authorize, (S.AUTHORIZED,)),
        VoucherRejected: Reason.WRONG_STATE,
        StartReported: Reason.WRONG_STATE,
        ReadingsReported: Reason.WRONG_STATE,
        EndRequested: Reason.WRONG_STATE,
        EndReported: Reason.WRONG_STATE,
        EndConfirmedBy: Reason.WRONG_STATE,
        Cancel: Effect(matching.cancel, (S.CANCELLED, S.DEMANDED, S.EXPIRED, S.SELECTED)),
        TimerFired: Effect(ending.wait_ran_out, (S.DEMANDED, S.EXPIRED, S.SELECTED)),
    },
    S.AUTHORIZED: {
        Demand: Reason.ORDER_EXISTS,
        OfferMade: Reason.ORDER_MOVED_ON,
        Declined: STALE,
        Withdrawn: Reason.ORDER_MOVED_ON,
        SelectionMade: Reason.WRONG_STATE,
        VoucherIssued: Reason.ORDER_MOVED_ON,
        VoucherRejected: Effect(delivery.note_voucher_rejected, (S.AUTHORIZED,)),
        StartReported: Effect(delivery.activate, (S.ACTIVE,)),
        ReadingsReported: Reason.WRONG_STATE,
        EndRequested: Effect(ending.request_end, (S.ENDING,)),
        EndReported: Effect(ending.report_end, (S.ENDING,)),
        EndConfirmedBy: Reason.WRONG_STATE,
        Cancel: Reason.WRONG_STATE,
        TimerFired: Effect(ending.wait_ran_out, (S.EXPIRED, S.AUTHORIZED)),
    },
    S.ACTIVE: {
        Demand: Reason.ORDER_EXISTS,
        OfferMade: Reason.ORDER_MOVED_ON,
        Declined: STALE,
        Withdrawn: Reason.ORDER_MOVED_ON,
        SelectionMade: Reason.WRONG_STATE,
        VoucherIssued: Reason.ORDER_MOVED_ON,
        VoucherRejected: STALE,
        StartReported: Effect(delivery.confirm_same_start, (S.ACTIVE,)),
        ReadingsReported: Effect(delivery.record_readings, (S.ACTIVE,)),
        EndRequested: Effect(ending.request_end, (S.ENDING, S.ACTIVE)),
        EndReported: Effect(ending.report_end, (S.ENDING,)),
        EndConfirmedBy: Effect(ending.confirm_end, (S.SETTLED,)),
        Cancel: Reason.WRONG_STATE,
        TimerFired: Effect(ending.wait_ran_out, (S.SETTLED, S.ACTIVE)),
    },
    S.ENDING: {
        Demand: Reason.ORDER_EXISTS,
        OfferMade: Reason.ORDER_MOVED_ON,
        Declined: STALE,
        Withdrawn: Reason.ORDER_MOVED_ON,
        SelectionMade: Reason.WRONG_STATE,
        VoucherIssued: Reason.ORDER_MOVED_ON,
        VoucherRejected: STALE,
        StartReported: Effect(delivery.confirm_same_start, (S.ENDING,)),
        ReadingsReported: Effect(delivery.record_readings, (S.ENDING,)),
        EndRequested: Effect(ending.add_end, (S.ENDING,)),
        EndReported: Effect(ending.add_end, (S.ENDING,)),
        EndConfirmedBy: Effect(ending.confirm_end, (S.SETTLED,)),
        Cancel: Reason.WRONG_STATE,
        TimerFired: Effect(ending.wait_ran_out, (S.SETTLED, S.ENDING)),
    },
    S.SETTLED: {
        **_ENDED,
        StartReported: STALE,
        ReadingsReported: STALE,
        EndRequested: STALE,
        EndReported: STALE,
        EndConfirmedBy: STALE,
    },
    S.DISPUTED: _ENDED,
    S.CANCELLED: _ENDED,
    S.EXPIRED: _ENDED,
}

BILLING = (EndConfirmedBy, TimerFired)
"""Messages that can end in a bill: the processor loads the stored evidence for them."""

assert set(SIDES) == set(get_args(OrderMessage))
assert set(TABLE) == set(OrderState)
assert all(set(row) == set(SIDES) for row in TABLE.values()), "the table is not total"


def decide(order: Order, message: OrderMessage, sender: Sender | None, facts: Facts, now: Instant) -> Decision:
    """Decide what a message does to an order.

    `sender` is None for a timer. Raises: Rejected with the reason when it may not be; nothing changes then.
    """
    if sender is not None:
        _require_entitled(order, message, sender)
    match TABLE[order.state][type(message)]:
        case Effect(handle, to):
            decision = handle(order, message, sender, facts, now)
            assert decision.order.state in to, (order.state, message, decision.order.state)
            return replace(decision, order=replace(decision.order, version=order.version + 1))
        case Stale():
            return Decision(replace(order, version=order.version + 1), "came late")
        case Reason() as reason:
            raise Rejected(reason, state=order.state.name)


def _require_entitled(order: Order, message: OrderMessage, sender: Sender) -> None:
    if sender.side not in SIDES[type(message)]:
        raise Rejected(Reason.WRONG_ROLE)
    selected_elsewhere = order.selected is not None and sender.terminal != order.provider
    if sender.side is Side.PROVIDER and isinstance(message, ONLY_THE_SELECTED) and selected_elsewhere:
        raise Rejected(Reason.ORDER_MOVED_ON)
