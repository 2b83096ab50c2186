"""Services under way: what a user's terminal does with extra work that is proposed, and with what is asked at the end.

Runs inside the journal's transaction, as all of a user's orders.
"""

from energyshare.bodies import AmendmentAnswerBody, AmendmentBody, SettlementRequestBody, StartReceiptBody, Verified
from energyshare.errors import Reason, Rejected
from energyshare.messages import AmendmentAnswer
from energyshare.tariff import TariffError
from energyshare.values import Digest, Instant, Number, OrderId, PartKind
from energyshare.wire import open_signed, peek
from terminals.journal import Journal
from terminals.stream import Terminal
from terminals.user import keeping
from terminals.user.order import AmendmentLine, SettlementAsked, UserOrder, require_state
from terminals.user.services import Agreed, bill_minor, quoted, require_amendment, require_settlement


class Work:
    """The part of a user's handler that only services need."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._journal = terminal.journal
        self._root = terminal.identity.root_key

    def take_amendment(self, order_id: OrderId, order: UserOrder, signed: bytes) -> None:
        """Keep extra work that is proposed, for the user to answer; refuse at once what does not hold.

        Raises: Rejected when the provider did not sign it. That is not answered: hashes don't cover signatures, so the answer
        would count for a true proposal of the same words.
        """
        proposed = open_signed(AmendmentBody, signed, keeping.issuer_key(self._journal, order_id, self._root))
        if any(line.digest == proposed.digest for line in order.amendments):
            return
        body = proposed.body
        line = AmendmentLine(body.number, proposed.digest, list(body.items), body.duration_s, body.hold_minor)
        try:
            self._require_amendment(order_id, order, body)
            self._journal.add_part(order_id, PartKind.AMENDMENT, proposed.digest, signed, body.number)
        except (Rejected, TariffError) as error:
            line.fault = str(error)
            self.answer(order_id, line, approve=False)
        order.amendments.append(line)

    def answer(self, order_id: OrderId, line: AmendmentLine, *, approve: bool) -> Number:
        """Sign and say the answer to an amendment; gives the number of its envelope."""
        body = AmendmentAnswerBody(order_id, Digest(line.digest), approve)
        key = self._terminal.identity.key
        answer = keeping.keep_own(self._journal, order_id, PartKind.AMENDMENT_ANSWER, body, key)
        line.approved = approve
        return self._terminal.say(order_id, AmendmentAnswer(answer.signed))

    def take_settlement(self, order_id: OrderId, order: UserOrder, signed: bytes) -> None:
        """Keep what is asked for a service, with what is wrong about it; raises Rejected when the provider did not ask it."""
        request = open_signed(SettlementRequestBody, signed, keeping.issuer_key(self._journal, order_id, self._root))
        if request.body.order_id != order_id:
            raise Rejected(Reason.RECEIPT_FOREIGN)
        if order.settlement is not None and order.settlement.digest == request.digest:
            return
        require_state(order, "ACTIVE", "ENDING")
        self._journal.add_part(order_id, PartKind.SETTLEMENT_REQUEST, request.digest, signed)
        order.settlement, order.state = self._priced(order_id, order, request), "ENDING"

    def _require_amendment(self, order_id: OrderId, order: UserOrder, amendment: AmendmentBody) -> None:
        require_state(order, "AUTHORIZED", "ACTIVE")
        last_number = max((line.number for line in order.amendments if not line.fault), default=0)
        require_amendment(amendment, agreed_so_far(self._journal, order_id, order), last_number)

    def _priced(self, order_id: OrderId, order: UserOrder, request: Verified[SettlementRequestBody]) -> SettlementAsked:
        body, agreed, start = request.body, agreed_so_far(self._journal, order_id, order), start_time(self._journal, order_id)
        asked = SettlementAsked(request.digest, list(body.items), body.duration_s, body.total_minor)
        try:
            if start is None:
                raise Rejected(Reason.PART_MISSING, part=PartKind.START_RECEIPT.name)
            asked.bill_minor = bill_minor(agreed, start, body.items, body.duration_s)
            require_settlement(body, agreed, asked.bill_minor)
        except (Rejected, TariffError) as error:
            asked.fault = str(error)
        return asked


def agreed_so_far(journal: Journal, order_id: OrderId, order: UserOrder) -> Agreed:
    """Give what a service may come to by now. Raises: Rejected{OFFER_UNKNOWN} before an offer was selected."""
    agreed = quoted(keeping.kept_offer(journal, order_id, order.selected))
    for line in order.amendments:
        if line.approved:
            agreed = agreed.extended(line.items, line.duration_s)
    return agreed


def start_time(journal: Journal, order_id: OrderId) -> Instant | None:
    """Give when the device says that an order began; None before it did."""
    receipt = journal.part(order_id, PartKind.START_RECEIPT)
    return peek(StartReceiptBody, receipt.signed).start_time if receipt else None
