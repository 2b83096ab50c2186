"""What a user says of its orders: each act is signed and journalled here, and sent when the cloud can be reached."""

import re
from collections.abc import Callable

from energyshare.bodies import EndRequestBody, SelectionBody, SettlementAnswerBody
from energyshare.errors import Reason, Rejected
from energyshare.messages import (
    Cancel,
    Demand,
    EndRequest,
    Reading,
    Selection,
    SerialClosed,
    SettlementConfirmed,
    SettlementRefused,
    Started,
)
from energyshare.values import Digest, Instant, Minor, OrderId, PartKind
from energyshare.wire import encode
from terminals import timeline
from terminals.identity import Identity
from terminals.journal import PARTS_KEPT_S, Journal
from terminals.stream import Terminal
from terminals.user import keeping, payment
from terminals.user.order import (
    KINDS,
    OPEN,
    AmendmentLine,
    SettlementAsked,
    UserOrder,
    new_order_id,
    require_state,
    save_order,
)
from terminals.user.orders import UserOrders
from terminals.user.view import OrdersView, offer_line

READINGS_PER_MESSAGE = 100
REASON = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class OrdersDesk(OrdersView):
    """A user's orders, and what can be done about them without a device and without the cloud."""

    def __init__(self, identity: Identity, journal: Journal, clock: Callable[[], Instant]) -> None:
        super().__init__(journal, clock)
        self._terminal = Terminal(identity, journal, clock)
        self._orders = UserOrders(self._terminal)

    @property
    def identity(self) -> Identity:
        """Who this terminal is."""
        return self._terminal.identity

    @property
    def has_unsent(self) -> bool:
        """Whether something waits for the cloud."""
        return not self._terminal.is_quiet

    def demand(self, demand: Demand) -> OrderId:
        """Open an order with a demand, of one kind or several; gives its id."""
        order_id = new_order_id(self._clock())
        with self._terminal.transaction():
            number = max((order.number for _, order in self.orders()), default=0) + 1
            save_order(self.journal, order_id, UserOrder(number, encode(demand), self._clock()))
            self._terminal.say(order_id, demand)
        return order_id

    def select(self, order_id: OrderId, index: int) -> None:
        """Select an offer by its number from 1; its hold is computed here.

        Raises: Rejected with OFFER_UNKNOWN, OFFER_EXPIRED or WRONG_STATE.
        """
        order = self.order(order_id)
        require_state(order, "DEMANDED")
        line = offer_line(order, index)
        if line.withdrawn:
            raise Rejected(Reason.OFFER_UNKNOWN, offer=str(index))
        offer = self.offer(order_id, line.digest)
        if offer.expiry_time < self._clock():
            raise Rejected(Reason.OFFER_EXPIRED, offer=str(index))
        body = SelectionBody(order_id, Digest(line.digest), Minor(line.hold_minor), self.identity.currency, self._clock())
        with self._terminal.transaction():
            selection = keeping.keep_own(self.journal, order_id, PartKind.SELECTION, body, self.identity.key)
            order.note_asked("SELECTION", self._terminal.say(order_id, Selection(selection.signed)))
            order.state, order.selected, order.kind = "SELECTED", line.digest, KINDS[offer.asset.kind]
            save_order(self.journal, order_id, order)

    def answer_amendment(self, order_id: OrderId, number: int, approve: bool) -> None:
        """Approve extra work, which raises what is held, or refuse it.

        Raises: Rejected with AMENDMENT_UNKNOWN when none of that number waits, WRONG_STATE.
        """
        order = self._own_order(order_id)
        require_state(order, "AUTHORIZED", "ACTIVE")
        line = _waiting_amendment(order, number)
        with self._terminal.transaction():
            order.note_asked("AMENDMENT", self._orders.work.answer(order_id, line, approve=approve))
            save_order(self.journal, order_id, order)

    def confirm(self, order_id: OrderId) -> None:
        """Confirm what is asked for a service, so that it is settled.

        Raises: Rejected with SETTLEMENT_UNKNOWN when nothing waits, SETTLEMENT_TOTAL when more is asked than was agreed:
        refuse the amount that is too much.
        """
        order = self._own_order(order_id)
        asked = _waiting_settlement(order)
        if asked.fault:
            raise Rejected(Reason.SETTLEMENT_TOTAL, problem=asked.fault)
        self._answer_settlement(order_id, order, asked, Minor(0))

    def refuse(self, order_id: OrderId, disputed: Minor) -> None:
        """Dispute an amount of what is asked for a service; the rest is settled, the operator rules on the amount.

        Raises: Rejected with SETTLEMENT_UNKNOWN when nothing waits, DISPUTE_AMOUNT unless it is from 1 to what is asked.
        """
        order = self._own_order(order_id)
        asked = _waiting_settlement(order)
        _require_amount(disputed, asked.total_minor)
        self._answer_settlement(order_id, order, asked, disputed)

    def dispute(self, order_id: OrderId, amount: Minor, reason: str) -> None:
        """Dispute an amount of the latest bill; possible for 72 hours, and the operator rules on it.

        Raises: Rejected with WRONG_STATE, DISPUTE_LATE when a dispute is open, DISPUTE_AMOUNT unless it is from 1 to the bill.
        """
        order = self.order(order_id)
        if order.state == "DISPUTED":
            raise Rejected(Reason.DISPUTE_LATE)
        require_state(order, "SETTLED")
        _require_amount(amount, order.total_minor or 0)
        if not reason:
            raise Rejected(Reason.MALFORMED, field="reason")
        latest, _ = payment.records(self.journal, order_id)[-1]
        with self._terminal.transaction():
            self._orders.bills.dispute(order_id, order, latest, amount, reason)
            save_order(self.journal, order_id, order)

    def forget_old_parts(self) -> None:
        """Drop the signed parts and the history of orders that were settled or closed long ago."""
        limit = self._clock() - PARTS_KEPT_S * 1_000_000
        with self._terminal.transaction():
            for order_id, order in self.orders():
                is_over = order.state not in (*OPEN, "DISPUTED")
                if is_over and (order.settled or order.created) < limit:
                    self.journal.drop_parts(order_id)
                    timeline.forget(self.journal, order_id)

    def _say_cancel(self, order_id: OrderId, order: UserOrder, reason: str) -> None:
        """Ask to call an order off, once; inside a journal transaction."""
        if order.cancel_asked != "USER":
            order.note_asked("CANCEL", self._terminal.say(order_id, Cancel(reason)))
            order.cancel_asked, order.cancel_reason = "USER", reason
            save_order(self.journal, order_id, order)

    def _tell_closed(self, order_id: OrderId, order: UserOrder, statement: bytes, grant: bytes) -> None:
        """Keep and say that the voucher was burned, which cancels the order; inside a journal transaction."""
        keeping.keep_closed(self.journal, order_id, statement, grant)
        self._terminal.say(order_id, SerialClosed(statement, grant))
        order.state = "CANCELLED"
        save_order(self.journal, order_id, order)

    def _tell_start(self, order_id: OrderId, order: UserOrder, start_receipt: bytes, grant: bytes) -> None:
        """Keep a start receipt, and say it when it is new; inside a journal transaction."""
        if self._orders.keep_start(order_id, order, start_receipt, grant):
            self._terminal.say(order_id, Started(start_receipt, grant))
        save_order(self.journal, order_id, order)

    def _tell_readings(self, order_id: OrderId, readings: tuple[bytes, ...], grant: bytes) -> None:
        """Keep readings, and say those that are new; inside a journal transaction."""
        new = keeping.keep_readings(self.journal, order_id, readings, grant, self.identity.root_key)
        for first in range(0, len(new), READINGS_PER_MESSAGE):
            self._terminal.say(order_id, Reading(new[first : first + READINGS_PER_MESSAGE], grant))

    def _ask_to_end(self, order_id: OrderId, order: UserOrder, receipt: bytes | None, grant: bytes | None) -> None:
        """Sign and say the request to end; a bill that is there stays until it is corrected. Inside a journal transaction."""
        ended = keeping.keep_end(self.journal, order_id, receipt) if receipt else None
        body = EndRequestBody(order_id, ended, self._clock())
        request = keeping.keep_own(self.journal, order_id, PartKind.END_REQUEST, body, self.identity.key)
        order.note_asked("END", self._terminal.say(order_id, EndRequest(request.signed, receipt, grant)))
        if order.state in OPEN:
            order.state = "ENDING"
        order.requested_end = True
        save_order(self.journal, order_id, order)

    def _may_come_back(self, order_id: OrderId, order: UserOrder) -> bool:
        """Say whether a battery that was charged as not returned is still out."""
        is_out = order.kind == "BATTERY" and self.journal.part(order_id, PartKind.END_RECEIPT) is None
        return is_out and order.state in ("SETTLED", "DISPUTED")

    def _answer_settlement(self, order_id: OrderId, order: UserOrder, asked: SettlementAsked, disputed: Minor) -> None:
        body = SettlementAnswerBody(order_id, Digest(asked.digest), disputed)
        with self._terminal.transaction():
            answer = keeping.keep_own(self.journal, order_id, PartKind.SETTLEMENT_ANSWER, body, self.identity.key)
            said = SettlementRefused(answer.signed) if disputed else SettlementConfirmed(answer.signed)
            order.note_asked("SETTLEMENT", self._terminal.say(order_id, said))
            asked.disputed_minor = disputed
            save_order(self.journal, order_id, order)

    def _note(self, order_id: OrderId, what: str, detail: str) -> None:
        timeline.note(self.journal, order_id, self._clock(), "you", what, detail)

    def _own_order(self, order_id: OrderId) -> UserOrder:
        """Give an order whose holder key is ours; raises Rejected{HOLDER_PROOF} for that of another terminal of the account."""
        order = self.order(order_id)
        if order.holder_key is not None:
            raise Rejected(Reason.HOLDER_PROOF)
        return order


def _waiting_amendment(order: UserOrder, number: int) -> AmendmentLine:
    for line in order.amendments:
        if line.number == number and line.approved is None:
            return line
    raise Rejected(Reason.AMENDMENT_UNKNOWN, number=str(number))


def _waiting_settlement(order: UserOrder) -> SettlementAsked:
    if order.waiting_settlement is None:
        raise Rejected(Reason.SETTLEMENT_UNKNOWN)
    return order.waiting_settlement


def _require_amount(amount: Minor, most: int) -> None:
    if not 1 <= amount <= most:
        raise Rejected(Reason.DISPUTE_AMOUNT, most=str(most), given=str(amount))
