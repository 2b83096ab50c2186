"""All that a user's journal holds of one order, read at once: its document, its signed parts, its history."""

from typing import TYPE_CHECKING

from msgspec import Struct

from energyshare.bodies import ChargeRecordBody, OfferBody, StartReceiptBody
from energyshare.values import Currency, Instant, OrderId, PartKind
from energyshare.wire import reread
from terminals.journal import Journal, KeptPart
from terminals.timeline import Entry, timeline
from terminals.user import payment
from terminals.user.order import UserOrder
from terminals.user.services import Agreed
from terminals.user.work import agreed_so_far

if TYPE_CHECKING:
    from terminals.user.terminal import UserTerminal


class Seen(Struct, frozen=True):
    """What is known of an order at a moment.

    `offers` are those that stand, `agreed` follows from the selected one, `bills` are the original and its corrections.
    """

    order_id: OrderId
    order: UserOrder
    now: Instant
    currency: Currency
    journal: Journal
    offers: tuple[OfferBody, ...]
    agreed: Agreed | None
    parts: tuple[KeptPart, ...]
    history: tuple[Entry, ...]
    bills: tuple[ChargeRecordBody, ...]

    def signed(self, kind: PartKind) -> bytes | None:
        """Give the latest part of a kind."""
        return next((part.signed for part in reversed(self.parts) if part.kind is kind), None)

    @property
    def start(self) -> Instant | None:
        """When the device started."""
        signed = self.signed(PartKind.START_RECEIPT)
        return reread(StartReceiptBody, signed).start_time if signed else None

    def last_heard(self, *messages: str) -> Instant | None:
        """Give when a message of one of these types was last said or heard."""
        return max((entry.at for entry in self.history if entry.message in messages), default=None)


def see(me: "UserTerminal", order_id: OrderId, now: Instant) -> Seen:
    """Read an order; raises Rejected{UNKNOWN_ORDER}."""
    order, journal = me.order(order_id), me.journal
    parts = journal.parts(order_id)
    offers = {bytes(part.digest): reread(OfferBody, part.signed) for part in parts if part.kind is PartKind.OFFER}
    standing = [offers[line.digest] for line in order.offers if line.digest in offers and not line.withdrawn]
    return Seen(
        order_id,
        order,
        now,
        me.identity.currency,
        journal,
        tuple(standing),
        agreed_so_far(journal, order_id, order) if order.selected in offers else None,
        tuple(parts),
        tuple(timeline(journal, order_id)),
        tuple(record for _, record in payment.records(journal, order_id)),
    )
