"""The life cycle of an order: one table, total over state and message.

    DEMANDED → SELECTED → AUTHORIZED → ACTIVE → ENDING → SETTLED, and CANCELLED, EXPIRED, DISPUTED

Each entry of `TABLE` is an `Effect` (what it does, and where it may lead), a refusal with its reason, or `STALE`: the message
comes late and changes nothing. docs/order-states.md is drawn from it. `decide` looks a message up, checks that its sender may
say such a thing, and lets the effect decide; it is pure, and the only way in which an order changes.
"""

from collections.abc import Callable, Mapping
from typing import Any, get_args

from msgspec import Struct

from cloud.domain import cancelling, delivery, disputes, ending, matching, returning, service, silence
from cloud.domain.inbound import (
    AmendmentAnswered,
    AmendmentProposed,
    EndConfirmedBy,
    EndRefusedBy,
    EndReported,
    EndRequested,
    NotReturnedStated,
    OfferMade,
    OrderMessage,
    ReadingsReported,
    RequestAcknowledged,
    RulingMade,
    SelectionMade,
    SerialClosedReported,
    SettlementAnswered,
    SettlementRequested,
    StartReported,
    TimerFired,
    VoucherIssued,
)
from cloud.domain.order import Decision, Facts, Order, Sender, Side
from energyshare.errors import Reason, Rejected
from energyshare.messages import Cancel, Declined, Demand, Dispute, VoucherRejected, Withdrawn
from energyshare.records import replace
from energyshare.values import Instant, OrderState

S = OrderState
Handler = Callable[[Order, Any, Any, Facts, Instant], Decision]


class Effect(Struct, frozen=True):
    """A handler, and the states in which it may leave the order."""

    handle: Handler
    to: tuple[OrderState, ...]


class Stale(Struct, frozen=True):
    """The message comes late and changes nothing."""


STALE = Stale()
Entry = Effect | Reason | Stale

U, P, A = Side.USER, Side.PROVIDER, Side.ACCOUNT

SIDES: Mapping[type, frozenset[Side]] = {
    Demand: frozenset({U}),
    OfferMade: frozenset({P}),
    Declined: frozenset({P}),
    Withdrawn: frozenset({P}),
    SelectionMade: frozenset({U}),
    VoucherIssued: frozenset({P}),
    VoucherRejected: frozenset({U}),
    StartReported: frozenset({U, P}),
    ReadingsReported: frozenset({U, P}),
    EndRequested: frozenset({U, A}),
    EndReported: frozenset({P}),
    EndConfirmedBy: frozenset({P}),
    EndRefusedBy: frozenset({P}),
    NotReturnedStated: frozenset({P}),
    SerialClosedReported: frozenset({U, P}),
    AmendmentProposed: frozenset({P}),
    AmendmentAnswered: frozenset({U}),
    SettlementRequested: frozenset({P}),
    SettlementAnswered: frozenset({U}),
    RequestAcknowledged: frozenset(),
    Cancel: frozenset({U, P, A}),
    Dispute: frozenset({U, A}),
    RulingMade: frozenset({Side.OPERATOR}),
    TimerFired: frozenset(),
}
"""Who may send what; ACCOUNT is another terminal of the user's account."""

ONLY_THE_SELECTED = (
    VoucherIssued,
    StartReported,
    ReadingsReported,
    EndReported,
    EndConfirmedBy,
    EndRefusedBy,
    NotReturnedStated,
    SerialClosedReported,
    AmendmentProposed,
    SettlementRequested,
)
"""What a provider may send only when its offer is the selected one."""

_NOT_YET: Mapping[type, Entry] = {
    StartReported: Reason.WRONG_STATE,
    ReadingsReported: Reason.WRONG_STATE,
    EndRequested: Reason.WRONG_STATE,
    EndReported: Reason.WRONG_STATE,
    EndConfirmedBy: Reason.WRONG_STATE,
    EndRefusedBy: Reason.WRONG_STATE,
    NotReturnedStated: Reason.WRONG_STATE,
    SerialClosedReported: Reason.WRONG_STATE,
    AmendmentProposed: Reason.WRONG_STATE,
    AmendmentAnswered: Reason.WRONG_STATE,
    SettlementRequested: Reason.WRONG_STATE,
    SettlementAnswered: Reason.WRONG_STATE,
    RequestAcknowledged: STALE,
    Dispute: Reason.WRONG_STATE,
    RulingMade: Reason.WRONG_STATE,
}
"""What can't be before a voucher is out."""

_CHOSEN: Mapping[type, Entry] = {
    Demand: Reason.ORDER_EXISTS,
    OfferMade: Reason.ORDER_MOVED_ON,
    Declined: STALE,
    Withdrawn: Reason.ORDER_MOVED_ON,
    SelectionMade: Reason.WRONG_STATE,
    VoucherIssued: Reason.ORDER_MOVED_ON,
    VoucherRejected: STALE,
}
"""What belongs before the selection or the voucher, once that is past."""

_OVER: Mapping[type, Entry] = {
    **_CHOSEN,
    Withdrawn: STALE,
    SelectionMade: Reason.ORDER_MOVED_ON,
    ReadingsReported: Reason.ORDER_MOVED_ON,
    EndConfirmedBy: Reason.ORDER_MOVED_ON,
    EndRefusedBy: Reason.ORDER_MOVED_ON,
    NotReturnedStated: Reason.ORDER_MOVED_ON,
    AmendmentProposed: Reason.ORDER_MOVED_ON,
    AmendmentAnswered: Reason.ORDER_MOVED_ON,
    SettlementRequested: Reason.ORDER_MOVED_ON,
    SettlementAnswered: Reason.ORDER_MOVED_ON,
    RequestAcknowledged: STALE,
    Cancel: Reason.ORDER_MOVED_ON,
    Dispute: Reason.WRONG_STATE,
    RulingMade: Reason.WRONG_STATE,
    TimerFired: STALE,
}


def _unused(state: OrderState) -> Mapping[type, Entry]:
    """Give the row of orders that ended with nothing to bill: what a device signed in its voucher's window still counts."""
    return {
        **_OVER,
        StartReported: Effect(delivery.start_after_the_end, (S.ACTIVE, state)),
        EndRequested: Effect(ending.end_after_the_end, (S.ENDING, state)),
        EndReported: Effect(ending.end_after_the_end, (S.ENDING, state)),
        SerialClosedReported: Effect(cancelling.close_serial_after_the_end, (state,)),
    }


def _billed(state: OrderState) -> Mapping[type, Entry]:
    """Give what orders that have a bill have in common: a device's word may correct it, or contradict the device."""
    return {
        **_OVER,
        StartReported: Effect(delivery.confirm_same_start, (state,)),
        ReadingsReported: Effect(delivery.record_late_readings, (state,)),
        EndRequested: Effect(ending.end_after_the_end, (state,)),
        EndReported: Effect(ending.end_after_the_end, (state,)),
        EndConfirmedBy: STALE,
        SerialClosedReported: Effect(cancelling.contradict_start, (state,)),
    }


TABLE: Mapping[OrderState, Mapping[type, Entry]] = {
    S.DEMANDED: {
        **_NOT_YET,
        Demand: Reason.ORDER_EXISTS,
        OfferMade: Effect(matching.take_offer, (S.DEMANDED,)),
        Declined: Effect(matching.relay_decline, (S.DEMANDED,)),
        Withdrawn: Effect(matching.withdraw, (S.DEMANDED,)),
        SelectionMade: Effect(matching.select, (S.SELECTED,)),
        VoucherIssued: Reason.ORDER_MOVED_ON,
        VoucherRejected: STALE,
        Cancel: Effect(matching.cancel, (S.CANCELLED, S.DEMANDED)),
        TimerFired: Effect(silence.wait_ran_out, (S.DEMANDED, S.EXPIRED)),
    },
    S.SELECTED: {
        **_NOT_YET,
        **_CHOSEN,
        VoucherIssued: Effect(delivery.authorize, (S.AUTHORIZED,)),
        VoucherRejected: Reason.WRONG_STATE,
        Cancel: Effect(matching.cancel, (S.CANCELLED, S.DEMANDED, S.EXPIRED, S.SELECTED)),
        TimerFired: Effect(silence.wait_ran_out, (S.DEMANDED, S.EXPIRED, S.SELECTED)),
    },
    S.AUTHORIZED: {
        **_NOT_YET,
        **_CHOSEN,
        VoucherRejected: Effect(delivery.note_voucher_rejected, (S.AUTHORIZED,)),
        StartReported: Effect(delivery.activate, (S.ACTIVE,)),
        EndRequested: Effect(ending.request_end, (S.ENDING,)),
        EndReported: Effect(ending.report_end, (S.ENDING,)),
        SerialClosedReported: Effect(cancelling.close_serial, (S.CANCELLED,)),
        AmendmentProposed: Effect(service.propose, (S.AUTHORIZED,)),
        AmendmentAnswered: Effect(service.answer, (S.AUTHORIZED,)),
        Cancel: Effect(cancelling.ask_to_cancel, (S.AUTHORIZED,)),
        TimerFired: Effect(silence.wait_ran_out, (S.EXPIRED, S.CANCELLED, S.AUTHORIZED)),
    },
    S.ACTIVE: {
        **_NOT_YET,
        **_CHOSEN,
        StartReported: Effect(delivery.confirm_same_start, (S.ACTIVE,)),
        ReadingsReported: Effect(delivery.record_readings, (S.ACTIVE,)),
        EndRequested: Effect(ending.request_end, (S.ENDING, S.ACTIVE)),
        EndReported: Effect(ending.report_end, (S.ENDING, S.ACTIVE)),
        EndConfirmedBy: Effect(ending.confirm_end, (S.SETTLED,)),
        EndRefusedBy: Effect(ending.refuse_end, (S.DISPUTED,)),
        NotReturnedStated: Effect(returning.state_not_returned, (S.SETTLED,)),
        SerialClosedReported: Effect(cancelling.contradict_start, (S.ACTIVE,)),
        AmendmentProposed: Effect(service.propose, (S.ACTIVE,)),
        AmendmentAnswered: Effect(service.answer, (S.ACTIVE,)),
        SettlementRequested: Effect(service.request_settlement, (S.ENDING,)),
        Cancel: Reason.WRONG_STATE,
        TimerFired: Effect(silence.wait_ran_out, (S.SETTLED, S.CANCELLED, S.ACTIVE)),
    },
    S.ENDING: {
        **_NOT_YET,
        **_CHOSEN,
        StartReported: Effect(delivery.confirm_same_start, (S.ENDING,)),
        ReadingsReported: Effect(delivery.record_readings, (S.ENDING,)),
        EndRequested: Effect(ending.add_end, (S.ENDING,)),
        EndReported: Effect(ending.add_end, (S.ENDING,)),
        EndConfirmedBy: Effect(ending.confirm_end, (S.SETTLED,)),
        EndRefusedBy: Effect(ending.refuse_end, (S.DISPUTED,)),
        SerialClosedReported: Effect(cancelling.contradict_start, (S.ENDING,)),
        SettlementAnswered: Effect(service.answer_settlement, (S.SETTLED, S.DISPUTED)),
        RequestAcknowledged: Effect(service.note_acknowledged, (S.ENDING,)),
        Cancel: Reason.WRONG_STATE,
        TimerFired: Effect(silence.wait_ran_out, (S.SETTLED, S.ENDING)),
    },
    S.SETTLED: {
        **_billed(S.SETTLED),
        NotReturnedStated: Effect(returning.state_not_returned, (S.SETTLED,)),
        Dispute: Effect(disputes.dispute, (S.DISPUTED,)),
        TimerFired: Effect(silence.wait_ran_out, (S.SETTLED,)),
    },
    S.DISPUTED: {
        **_billed(S.DISPUTED),
        Dispute: Reason.DISPUTE_LATE,
        RulingMade: Effect(disputes.rule, (S.SETTLED,)),
        TimerFired: Effect(silence.wait_ran_out, (S.SETTLED, S.DISPUTED)),
    },
    S.CANCELLED: _unused(S.CANCELLED),
    S.EXPIRED: _unused(S.EXPIRED),
}

BILLING = (
    EndConfirmedBy,
    EndRefusedBy,
    EndReported,
    EndRequested,
    NotReturnedStated,
    AmendmentProposed,
    AmendmentAnswered,
    SettlementRequested,
    SettlementAnswered,
    Dispute,
    RulingMade,
    TimerFired,
)
"""Messages that look at the stored evidence or at balances: the processor loads both for them."""

assert set(SIDES) == set(get_args(OrderMessage))
assert set(TABLE) == set(OrderState)
assert all(set(row) == set(SIDES) for row in TABLE.values()), "the table is not total"


def decide(order: Order, message: OrderMessage, sender: Sender | None, facts: Facts, now: Instant) -> Decision:
    """Decide what a message does to an order.

    `sender` is None for a timer, and for what the processor itself notices.
    Raises: Rejected with the reason when it may not be; nothing changes then.
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
