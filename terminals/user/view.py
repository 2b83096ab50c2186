"""What a user's home tells without anybody else: its orders, their offers, and what they cost so far."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from energyshare.bodies import OfferBody
from energyshare.charging import Evidence
from energyshare.errors import Reason, Rejected
from energyshare.values import Instant, Minor, Money, OrderId
from terminals.journal import Journal
from terminals.user import keeping, payment
from terminals.user.order import OPEN, OfferLine, UserOrder, all_orders, find_order
from terminals.user.services import ServiceSoFar, so_far
from terminals.user.work import agreed_so_far, start_time


class Maximum(Struct, frozen=True):
    """The most that an offer can cost; the deposit comes back unless something is lost or damaged."""

    charge: Money
    deposit: Money

    @property
    def hold(self) -> Money:
        """What selecting it holds in the wallet."""
        return self.charge + self.deposit


class OrdersView:
    """A user's orders as the journal has them."""

    def __init__(self, journal: Journal, clock: Callable[[], Instant]) -> None:
        self.journal = journal
        self._clock = clock

    def orders(self) -> list[tuple[OrderId, UserOrder]]:
        """List all orders by their number."""
        return all_orders(self.journal)

    def order(self, order_id: OrderId) -> UserOrder:
        """Give an order; raises Rejected{UNKNOWN_ORDER}."""
        order = find_order(self.journal, order_id)
        if order is None:
            raise Rejected(Reason.UNKNOWN_ORDER)
        return order

    def numbered(self, number: int | None, waits: Callable[[UserOrder], bool] | None = None) -> OrderId:
        """Find an order by its number; without one the only order that `waits` for something, or the only open one.

        Raises: Rejected{UNKNOWN_ORDER} when there is none, or more than one to choose from.
        """
        found = self.orders()
        if number is not None:
            candidates = [order_id for order_id, order in found if order.number == number]
            said = {"order": str(number)}
        else:
            candidates = _likely(found, waits)
            said = {"open": str(len(candidates))}
        if len(candidates) != 1:
            raise Rejected(Reason.UNKNOWN_ORDER, **said)
        return candidates[0]

    def offer(self, order_id: OrderId, offer_hash: bytes) -> OfferBody:
        """Give an offer in full; raises Rejected{OFFER_UNKNOWN}."""
        return keeping.kept_offer(self.journal, order_id, offer_hash)

    def maximum(self, order_id: OrderId, index: int) -> Maximum:
        """Give the most that an offer can cost, by its number from 1; raises Rejected{OFFER_UNKNOWN}."""
        line = offer_line(self.order(order_id), index)
        offer = self.offer(order_id, line.digest)
        deposit = offer.asset.deposit_minor
        return Maximum(Money(offer.currency, Minor(line.hold_minor - deposit)), Money(offer.currency, deposit))

    def running(self, order_id: OrderId) -> tuple[Evidence, Minor] | None:
        """Give the latest reading's session and what an end there would cost; None for a service, which has no meter."""
        return payment.running(self.journal, order_id)

    def service_so_far(self, order_id: OrderId) -> ServiceSoFar | None:
        """Give how long a service has taken and what it would cost now; None before it began, and for what is no service."""
        order = self.order(order_id)
        start = start_time(self.journal, order_id)
        if order.kind != "SERVICE" or start is None:
            return None
        return so_far(agreed_so_far(self.journal, order_id, order), start, self._clock())


def offer_line(order: UserOrder, index: int) -> OfferLine:
    """Give an offer by its number from 1; raises Rejected{OFFER_UNKNOWN}."""
    if not 1 <= index <= len(order.offers):
        raise Rejected(Reason.OFFER_UNKNOWN, offer=str(index))
    return order.offers[index - 1]


def _likely(found: Sequence[tuple[OrderId, UserOrder]], waits: Callable[[UserOrder], bool] | None) -> list[OrderId]:
    """Give the orders that someone means who gives no number: those that wait, else those that are open, else the last."""
    waiting = [order_id for order_id, order in found if waits is not None and waits(order)]
    return waiting or [order_id for order_id, order in found if order.state in OPEN] or [order_id for order_id, _ in found[-1:]]
