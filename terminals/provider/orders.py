"""What a provider does with each message of an order; runs inside the journal's transaction.

`ProviderOrders` says which part of the program a message is for: awards (offers, vouchers, cancellation), sessions (what
devices signed), endings (confirmation, claims), jobs (services), bills. What the cloud refuses of what was said is undone
here, by the number under which it was said.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from energyshare.errors import Reason, Rejected
from energyshare.messages import (
    AmendmentAnswer,
    Award,
    Cancel,
    ConfirmEnd,
    DemandNotice,
    Dispute,
    Message,
    NotSelected,
    OrderClosed,
    Reading,
    RejectedMessage,
    Ruling,
    Settled,
    Snapshot,
    Started,
)
from energyshare.values import DeviceId, Epoch, Instant, OrderId, PartKind
from terminals.link import Refusal
from terminals.provider.awards import Awards, Decide, burn, decide_nothing
from terminals.provider.bills import Bills
from terminals.provider.catalog import Catalog
from terminals.provider.config import Offers
from terminals.provider.documents import UNDER_WAY, OrderBook, OrderDocument, State, documents
from terminals.provider.endings import Endings
from terminals.provider.jobs import Jobs
from terminals.provider.sessions import Sessions
from terminals.provider.stock import Stock
from terminals.stream import Terminal

__all__ = ["UNDER_WAY", "OrderDocument", "ProviderOrders", "State", "documents"]

logger = logging.getLogger(__name__)

TakeSnapshot = Callable[[Snapshot], None]


def do_nothing() -> None:
    """Wake nobody."""


class ProviderOrders:
    """The handler of a provider's messages, and the parts that it is made of."""

    def __init__(
        self,
        terminal: Terminal,
        catalog: Catalog,
        terms: Offers,
        clock: Callable[[], Instant],
        decide: Decide = decide_nothing,
    ) -> None:
        self.book = OrderBook(terminal, clock)
        self.stock = Stock(terminal, catalog)
        self.sessions = Sessions(self.book, self.stock)
        self.awards = Awards(self.book, self.stock, terms, decide)
        self.endings = Endings(self.book, self.stock, self.sessions, terms)
        self.bills = Bills(self.book, self.stock, self.sessions)
        self.jobs = Jobs(self.book)
        self.take_snapshot: TakeSnapshot | None = None
        """Merges what the cloud knows after a loss; set by the program."""
        self.wake: Callable[[], None] = do_nothing
        """Called when a message or a person wants something done at a device; set by the program."""

    @property
    def catalog(self) -> Catalog:
        """What there is now."""
        return self.stock.catalog

    @catalog.setter
    def catalog(self, catalog: Catalog) -> None:
        self.stock.catalog = catalog

    def handle(self, order_id: OrderId | None, message: Message) -> None:
        """Take a message; answers are said through the terminal. Raises Rejected for one that does not hold."""
        if order_id is None:
            if isinstance(message, Snapshot):
                self._begin_anew(message)
            return
        document = self.document(order_id)
        if self._take(order_id, message, document):
            self.save(order_id, document)
            self.wake_for(document)

    def refused(self, refusal: Refusal) -> None:
        """Take note that the cloud has no such conversation."""
        if refusal.conversation is not None:
            document = self.document(refusal.conversation)
            document.reason = refusal.reason
            self.save(refusal.conversation, document)

    def use(self, terms: Offers) -> None:
        """Make offers and answer ends by these terms from now on."""
        self.awards.terms = self.endings.terms = terms

    def document(self, order_id: OrderId) -> OrderDocument:
        """Read what is known of an order."""
        return self.book.read(order_id)

    def save(self, order_id: OrderId, document: OrderDocument) -> None:
        """Store what is known of an order."""
        self.book.save(order_id, document)

    @contextmanager
    def changing(self, order_id: OrderId) -> Iterator[OrderDocument]:
        """Give an order to change, and store it, in a transaction of its own. Raises Rejected{UNKNOWN_ORDER}."""
        with self.book.terminal.transaction():
            document = self.book.find(order_id)
            yield document
            self.save(order_id, document)

    def wake_for(self, document: OrderDocument) -> None:
        """Have the devices seen to at once, if an order wants something done at one."""
        if document.burn or document.release_wanted:
            self.wake()

    def learn_epoch(self, device: DeviceId, epoch: Epoch) -> None:
        """Keep the number of a device's replay memory, for the vouchers to come."""
        self.awards.learn_epoch(device, epoch)

    def _take(self, order_id: OrderId, message: Message, document: OrderDocument) -> bool:
        """Take a message of an order; says whether it was one for us."""
        match message:
            case DemandNotice():
                if document.state in ("ASKED", "OFFERED"):
                    self.awards.offer(order_id, message, document)
            case Award():
                self.awards.issue(order_id, message, document)
            case NotSelected():
                self._not_selected(document)
            case Cancel(reason):
                self._called_off(document, reason)
            case OrderClosed():
                self.bills.closed(message, document)
            case Started(start_receipt, grant):
                self.sessions.keep_start(order_id, document, start_receipt, grant)
            case Reading(readings, grant):
                self.sessions.keep_readings(order_id, document, readings, grant)
            case ConfirmEnd():
                self.endings.asked(order_id, message, document)
            case AmendmentAnswer(answer):
                self.jobs.take_answer(order_id, document, answer)
            case Settled():
                self._settled(order_id, message, document)
            case Dispute():
                self.bills.disputed(message, document)
            case Ruling():
                self.bills.ruled(order_id, message, document)
            case RejectedMessage(number, reason, _):
                self._undo(document, document.said.pop(number, ""), reason)
            case _:
                return False
        return True

    def _begin_anew(self, snapshot: Snapshot) -> None:
        """Merge what the cloud knows, as all conversations have begun anew."""
        if self.take_snapshot is not None:
            self.take_snapshot(snapshot)

    def _not_selected(self, document: OrderDocument) -> None:
        """Take note that another offer was selected; a voucher of ours that came too late is burned."""
        if document.started is None:
            burn(document)
            document.state, document.reason = "CLOSED", "another offer was selected"

    def _called_off(self, document: OrderDocument, reason: str) -> None:
        """Have a voucher burned because its user asks to cancel; a start that was signed before wins."""
        if document.state == "AUTHORIZED":
            document.cancel_reason, document.cancelled_by = reason, "user"
            burn(document)

    def _settled(self, order_id: OrderId, settled: Settled, document: OrderDocument) -> None:
        self.bills.settled(order_id, settled, document)
        answer = settled.part(PartKind.SETTLEMENT_ANSWER)
        if answer is None:
            return
        try:
            self.jobs.take_settlement_answer(order_id, document, answer)
        except Rejected as refusal:
            logger.warning("the answer that came with a bill does not hold: %s", refusal)

    def _undo(self, document: OrderDocument, about: str, reason: str) -> None:
        """Take back what the cloud did not take."""
        document.reason = reason
        match about:
            case "voucher":
                burn(document)
            case "start" if document.state == "ACTIVE":
                document.state, document.looked_through = "CLOSED", True
            case "cancellation":
                document.cancelled_by = ""
            case "amendment":
                self.jobs.amendment_refused(document)
            case "settlement":
                self.jobs.settlement_refused(document)
            case "not-returned" if reason == Reason.NOT_OVERDUE:
                self.endings.ask_later(document)
