"""What a user terminal does with each message of an order; runs inside the journal's transaction.

It believes nothing that it can check: offers and vouchers are opened from the platform root down and compared with what was
asked and selected, extra work and settlements are priced again, and a bill counts only when the payment module derives it by
itself; it is disputed otherwise.
"""

from energyshare.bodies import OfferBody
from energyshare.errors import Rejected
from energyshare.messages import (
    Amendment,
    Cancel,
    Declined,
    Demand,
    Message,
    Offer,
    OrderClosed,
    Reading,
    RejectedMessage,
    Reopened,
    Ruling,
    Screened,
    Settled,
    SettlementRequest,
    Snapshot,
    Started,
    Voucher,
    VoucherRejected,
    Withdrawn,
)
from energyshare.places import distance_m
from energyshare.tariff import TariffError
from energyshare.values import OrderId, OrderState, PartKind
from energyshare.wire import decode
from terminals.link import Refusal
from terminals.stream import Terminal
from terminals.user import keeping
from terminals.user.bills import Bills
from terminals.user.order import CLOSED, OPEN, Act, OfferLine, UserOrder, all_orders, find_order, save_order, why
from terminals.user.recovery import take_snapshot
from terminals.user.work import Work

__all__ = ["OPEN", "OfferLine", "UserOrder", "UserOrders", "all_orders", "why"]


class UserOrders:
    """The handler of a user's messages."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._journal = terminal.journal
        self._root = terminal.identity.root_key
        self.work = Work(terminal)
        self.bills = Bills(terminal)

    def handle(self, order_id: OrderId | None, message: Message) -> None:
        """Take a message; answers are said through the terminal."""
        if isinstance(message, Snapshot):
            take_snapshot(self._terminal, message)
        order = find_order(self._journal, order_id) if order_id else None
        if order is not None and order_id is not None:
            self._take(order_id, order, message)
            save_order(self._journal, order_id, order)

    def refused(self, refusal: Refusal) -> None:
        """Take note that the cloud has no such conversation: a demand that it did not take."""
        order = find_order(self._journal, refusal.conversation) if refusal.conversation else None
        if order is not None and refusal.conversation is not None:
            order.reason, order.metadata = refusal.reason, dict(refusal.metadata)
            if order.state == "DEMANDED" and refusal.number == 1:
                order.state = "REFUSED"
            save_order(self._journal, refusal.conversation, order)

    def _take(self, order_id: OrderId, order: UserOrder, message: Message) -> None:
        match message:
            case Screened(candidates, exclusions, _):
                order.candidates = candidates
                order.exclusions = [(e.reason, e.count) for e in exclusions]
            case Offer(offer, grant):
                self._take_offer(order_id, order, offer, grant)
            case Declined(_, reason):
                order.declined.append(reason)
            case Withdrawn(offer_hash):
                for line in order.offers:
                    line.withdrawn = line.withdrawn or line.digest == offer_hash
            case Voucher(presentable):
                self._take_voucher(order_id, order, presentable)
            case Reopened(reason):
                order.state, order.selected, order.kind, order.reason = "DEMANDED", None, "", reason
            case Started(start_receipt, grant):
                self.keep_start(order_id, order, start_receipt, grant)
            case Reading(readings, grant):
                keeping.keep_readings(self._journal, order_id, readings, grant, self._root)
            case Amendment(amendment):
                self.work.take_amendment(order_id, order, amendment)
            case SettlementRequest(request):
                self.work.take_settlement(order_id, order, request)
            case Cancel(reason):
                self._take_cancel(order_id, order, reason)
            case OrderClosed(state, reason):
                self._close(order_id, order, state, reason)
            case Ruling(ruling):
                self.bills.rule(order_id, order, ruling)
            case Settled():
                self.bills.settle(order_id, order, message)
            case RejectedMessage(number, reason, metadata):
                self._take_rejection(order_id, order, number, reason, dict(metadata))
            case _:
                pass

    def keep_start(self, order_id: OrderId, order: UserOrder, start_receipt: bytes, grant: bytes) -> bool:
        """Keep a start receipt, which wins over cancellation and expiry; says whether it was new."""
        is_new = keeping.keep_start(self._journal, order_id, start_receipt, grant, self._root)
        if order.state == "AUTHORIZED" or order.state in CLOSED:
            order.state, order.reason, order.metadata = "ACTIVE", "", {}
        return is_new

    def _take_offer(self, order_id: OrderId, order: UserOrder, signed: bytes, grant: bytes) -> None:
        """Keep an offer that holds; one that does not is as good as none, and is named."""
        currency = self._terminal.identity.currency
        try:
            offer, hold = keeping.keep_offer(self._journal, order_id, signed, grant, self._root, currency)
        except (Rejected, TariffError) as error:
            order.declined.append(f"an offer does not hold: {error}")
            return
        order.offers.append(OfferLine(offer.digest, hold, distance_to(order, offer.body)))

    def _take_voucher(self, order_id: OrderId, order: UserOrder, presentable: bytes) -> None:
        """Keep a voucher that is the selected offer's and ours; say so otherwise."""
        holder = self._terminal.identity.key.public
        try:
            offer = keeping.kept_offer(self._journal, order_id, order.selected)
            keeping.keep_voucher(self._journal, order_id, presentable, offer, holder, self._root)
        except Rejected as refusal:
            order.reason, order.metadata = refusal.reason, dict(refusal.metadata)
            self._terminal.say(order_id, VoucherRejected(refusal.reason))
            return
        order.presentable = presentable
        if order.state in ("DEMANDED", "SELECTED"):
            order.state = "AUTHORIZED"

    def _take_cancel(self, order_id: OrderId, order: UserOrder, reason: str) -> None:
        """Note that the provider asks to call the order off; a start that happened wins."""
        if order.state in OPEN and not self._is_started(order_id):
            order.cancel_asked, order.cancel_reason = "PROVIDER", reason

    def _close(self, order_id: OrderId, order: UserOrder, state: OrderState, reason: str) -> None:
        """Close an order, unless it was started and the cloud had not heard of that; only a service may end unbilled."""
        order.reason, order.metadata = reason, {}
        was_unsettled = order.kind == "SERVICE" and state is OrderState.CANCELLED
        if order.state in OPEN and self._is_started(order_id) and not was_unsettled:
            return
        order.state = "CANCELLED" if state is OrderState.CANCELLED else "EXPIRED"

    def _is_started(self, order_id: OrderId) -> bool:
        return self._journal.part(order_id, PartKind.START_RECEIPT) is not None

    def _take_rejection(self, order_id: OrderId, order: UserOrder, number: int, reason: str, metadata: dict[str, str]) -> None:
        """Go back to where the order stood before the act that was refused."""
        act = order.note_refused(number, reason, metadata)
        match act or _awaited(order):
            case "SELECTION" if order.state == "SELECTED":
                order.state, order.selected, order.kind = "DEMANDED", None, ""
            case "CANCEL" if order.cancel_asked == "USER":
                order.cancel_asked, order.cancel_reason = "", ""
            case "END" if order.state == "ENDING":
                order.state = "ACTIVE" if self._is_started(order_id) else "AUTHORIZED"
                order.requested_end = False
            case "AMENDMENT":
                order.reopen_amendment()
            case "SETTLEMENT" if order.settlement is not None:
                order.settlement.disputed_minor = None
            case "DISPUTE" if order.state == "DISPUTED":
                order.state, order.disputed_minor, order.dispute_reason = "SETTLED", 0, ""
            case _:
                pass


def distance_to(order: UserOrder, offer: OfferBody) -> int:
    """Give how far an offer's asset is from where it was demanded, metres."""
    return distance_m(decode(Demand, order.demand).place, offer.asset.place)


def _awaited(order: UserOrder) -> Act | None:
    """Name the act that a refusal must be of whose number is not known, as when all numbers began anew."""
    return "SELECTION" if order.state == "SELECTED" and not order.cancel_asked else None
