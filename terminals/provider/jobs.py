"""Services: extra work that a user has to approve, and the request for settlement.

    asked for at most: the quote and the approved amendments, per item, in seconds, and by the offer's tariff in money
    one amendment waits for its answer at a time; what it adds to the hold follows from the tariff alone

The cloud checks the same by the same functions (`energyshare.charging`).
"""

from collections.abc import Sequence

from msgspec import Struct

from energyshare.bodies import (
    AmendmentAnswerBody,
    AmendmentBody,
    OfferBody,
    ServiceItem,
    SettlementAnswerBody,
    SettlementRequestBody,
)
from energyshare.charging import added, extra_hold, is_within, service_charge
from energyshare.errors import Reason, Rejected
from energyshare.messages import Amendment, SettlementRequest
from energyshare.records import replace
from energyshare.values import MINOR_MAX, DurationS, Instant, Kind, Minor, Number, OrderId, PartKind, PublicKey
from energyshare.wire import Malformed, open_signed, peek, seal
from terminals.journal import Journal
from terminals.provider.documents import (
    AmendmentLine,
    OrderBook,
    OrderDocument,
    SettlementLine,
    documents,
    require_state,
    selected_offer,
)

OPEN = ("AUTHORIZED", "ACTIVE", "ENDING", "DISPUTED")


class Agreed(Struct, frozen=True):
    """What a service may be settled for at most: the offer's quote and the amendments that were approved."""

    offer: OfferBody
    items: tuple[ServiceItem, ...]
    duration_s: DurationS


def jobs(journal: Journal) -> list[tuple[OrderId, OrderDocument]]:
    """List the services that are to be done or paid, by number."""
    found = [(order_id, d) for order_id, d in documents(journal) if d.kind == Kind.SERVICE.name and d.state in OPEN]
    return sorted(found, key=lambda one: one[1].number)


def agreed(journal: Journal, order_id: OrderId, document: OrderDocument) -> Agreed:
    """Give what was agreed so far; raises Rejected{WRONG_STATE} for an order that is no service."""
    if document.kind != Kind.SERVICE.name:
        raise Rejected(Reason.WRONG_STATE, order=str(document.number), kind=document.kind or "none yet")
    offer = selected_offer(journal, order_id, document)
    approved = [line for line in document.amendments if line.approved]
    items = added(offer.items, [item for line in approved for item in line.items])
    return Agreed(offer, items, DurationS(offer.duration_s_max + sum(line.duration_s for line in approved)))


class Jobs:
    """Proposes extra work, asks for settlement, takes the answers; inside a journal transaction."""

    def __init__(self, book: OrderBook) -> None:
        self._book = book
        self._journal = book.journal
        self._identity = book.terminal.identity

    def propose(
        self, order_id: OrderId, document: OrderDocument, items: Sequence[ServiceItem], duration_s: DurationS
    ) -> AmendmentLine:
        """Propose extra work to the user; gives what it adds to the hold.

        Raises: Rejected with WRONG_STATE, AMENDMENT_OPEN or MALFORMED; TariffError for an item without a price.
        """
        before = agreed(self._journal, order_id, document)
        require_state(document, "AUTHORIZED", "ACTIVE")
        if any(line.approved is None for line in document.amendments):
            raise Rejected(Reason.AMENDMENT_OPEN, order=str(document.number))
        more = added((), items)
        if not more and not duration_s:
            raise Malformed("AmendmentBody.items", "needs an item, or time")
        hold = extra_hold(before.offer, before.items, before.duration_s, more, duration_s)
        number = Number(max((line.number for line in document.amendments), default=0) + 1)
        amendment = seal(AmendmentBody(order_id, number, more, duration_s, hold), self._identity.key)
        peek(AmendmentBody, amendment.signed)  # what others could not read is not said
        self._journal.add_part(order_id, PartKind.AMENDMENT, amendment.digest, amendment.signed, number)
        line = AmendmentLine(number, amendment.digest, list(more), duration_s, hold)
        document.amendments = [*document.amendments, line]
        self._book.tell(order_id, document, Amendment(amendment.signed), "amendment")
        return line

    def take_answer(self, order_id: OrderId, document: OrderDocument, signed: bytes) -> None:
        """Take the user's answer to an amendment; raises Rejected when it is not the holder's, or to none that waits."""
        answer = open_signed(AmendmentAnswerBody, signed, PublicKey(document.holder_key))
        line = next((one for one in document.amendments if one.digest == answer.body.amendment_hash), None)
        if line is None or answer.body.order_id != order_id or line.approved not in (None, answer.body.approved):
            raise Rejected(Reason.AMENDMENT_UNKNOWN)
        self._journal.add_part(order_id, PartKind.AMENDMENT_ANSWER, answer.digest, signed, line.number)
        line.approved = answer.body.approved

    def request_settlement(
        self,
        order_id: OrderId,
        document: OrderDocument,
        items: Sequence[ServiceItem] | None = None,
        duration_s: DurationS | None = None,
        total: Minor | None = None,
    ) -> SettlementLine:
        """Ask the user for settlement, itemised; left out, all that was agreed in the time since the check-in.

        Raises: Rejected with WRONG_STATE, SETTLEMENT_ITEMS, SETTLEMENT_TOTAL or MALFORMED.
        """
        limit = agreed(self._journal, order_id, document)
        require_state(document, "ACTIVE")
        assert document.started is not None
        done = limit.items if items is None else added((), items)
        worked = self._worked(document.started, limit) if duration_s is None else duration_s
        _require_within(limit, done, worked)
        everything = SettlementRequestBody(order_id, done, worked, Minor(MINOR_MAX))
        most = service_charge(limit.offer, everything, Instant(document.started)).incl_vat_minor
        asked = most if total is None else total
        if not 0 <= asked <= most:
            raise Rejected(Reason.SETTLEMENT_TOTAL, most=str(most), given=str(asked))
        request = seal(replace(everything, total_minor=asked), self._identity.key)
        peek(SettlementRequestBody, request.signed)
        number = len(self._journal.parts(order_id, PartKind.SETTLEMENT_REQUEST)) + 1
        self._journal.add_part(order_id, PartKind.SETTLEMENT_REQUEST, request.digest, request.signed, number)
        document.settlement = SettlementLine(request.digest, list(done), worked, asked)
        document.state, document.release_wanted = "ENDING", not document.ended
        self._book.tell(order_id, document, SettlementRequest(request.signed), "settlement")
        return document.settlement

    def take_settlement_answer(self, order_id: OrderId, document: OrderDocument, signed: bytes) -> None:
        """Keep the user's answer to our request for settlement, as it comes with the bill.

        Raises: Rejected when it is not the holder's, or to another request.
        """
        answer = open_signed(SettlementAnswerBody, signed, PublicKey(document.holder_key))
        asked = document.settlement
        if asked is None or (answer.body.order_id, answer.body.settlement_request_hash) != (order_id, asked.digest):
            raise Rejected(Reason.SETTLEMENT_UNKNOWN)
        self._journal.add_part(order_id, PartKind.SETTLEMENT_ANSWER, answer.digest, signed)
        asked.disputed_minor = answer.body.disputed_minor

    def amendment_refused(self, document: OrderDocument) -> None:
        """Take back the amendment that waits: the cloud did not take it, and its number is free again."""
        document.amendments = [line for line in document.amendments if line.approved is not None]

    def settlement_refused(self, document: OrderDocument) -> None:
        """Take back a request that the cloud did not take."""
        if document.state == "ENDING":
            document.state, document.settlement = "ACTIVE", None

    def _worked(self, started: int, limit: Agreed) -> DurationS:
        """Give the time since the check-in, seconds, at most what was agreed."""
        return DurationS(max(0, min((self._book.clock() - started) // 1_000_000, limit.duration_s)))


def _require_within(limit: Agreed, items: Sequence[ServiceItem], duration_s: int) -> None:
    if not is_within(items, limit.items):
        most = ", ".join(f"{item.quantity} {item.name}" for item in limit.items)
        raise Rejected(Reason.SETTLEMENT_ITEMS, agreed=most or "nothing")
    if not 0 <= duration_s <= limit.duration_s:
        raise Rejected(Reason.SETTLEMENT_ITEMS, agreed_s=str(limit.duration_s), given_s=str(duration_s))
