"""What an order came to: bills and what changes them, disputes and rulings, and the end of an order that is not billed.

Several bills may come for one order; the latest counts, and all are kept. Parts that a bill names come along with it.
"""

import logging

from energyshare.bodies import ChargeRecordBody, RulingBody
from energyshare.bundle import BODIES, SEVERAL
from energyshare.credentials import open_grant
from energyshare.errors import Reason, Rejected
from energyshare.messages import Dispute, OrderClosed, Ruling, Settled
from energyshare.values import ChargeBasis, Digest, Instant, Kind, OrderId, PartKind, Role
from energyshare.wire import digest_of, open_signed
from terminals.provider.awards import burn
from terminals.provider.documents import UNDER_WAY, DisputeLine, OrderBook, OrderDocument, RulingLine
from terminals.provider.sessions import Sessions
from terminals.provider.stock import Stock

logger = logging.getLogger(__name__)


class Bills:
    """Keeps what the cloud tells of an order's outcome; inside a journal transaction."""

    def __init__(self, book: OrderBook, stock: Stock, sessions: Sessions) -> None:
        self._book = book
        self._stock = stock
        self._sessions = sessions
        self._journal = book.journal
        self._identity = book.terminal.identity

    def settled(self, order_id: OrderId, settled: Settled, document: OrderDocument) -> None:
        """Keep a bill; the latest counts. Raises Rejected when the platform did not sign it for this order."""
        platform = open_grant(settled.platform_grant, self._identity.root_key, Role.PLATFORM)
        record = open_signed(ChargeRecordBody, settled.charge_record, platform.body.public_key)
        if record.body.order_id != order_id:
            raise Rejected(Reason.RECEIPT_FOREIGN)
        number = len(self._journal.parts(order_id, PartKind.CHARGE_RECORD)) + 1
        self._journal.add_part(order_id, PartKind.CHARGE_RECORD, record.digest, settled.charge_record, number)
        self._keep_along(order_id, settled, record.body, document)
        if record.body.basis in (ChargeBasis.CAP, ChargeBasis.FLAT) and document.state in UNDER_WAY:
            self._stock.expect_back(document.device_id)
        document.total_minor = record.body.incl_vat_minor
        document.deposit_claimed_minor = record.body.deposit_claimed_minor
        document.disputed_minor, document.basis = settled.disputed_minor, record.body.basis.name
        document.state = "DISPUTED" if settled.disputed_minor else "SETTLED"
        finish(document, self._book.clock())

    def disputed(self, dispute: Dispute, document: OrderDocument) -> None:
        """Take note that the user disputes its bill."""
        if document.state in ("SETTLED", "DISPUTED"):
            document.state, document.disputed_minor = "DISPUTED", dispute.disputed_minor
            document.dispute = DisputeLine(dispute.disputed_minor, dispute.reason)

    def ruled(self, order_id: OrderId, message: Ruling, document: OrderDocument) -> None:
        """Keep the operator's ruling; the bill that follows from it comes by itself."""
        platform = open_grant(self._identity.platform_grant, self._identity.root_key, Role.PLATFORM)
        ruling = open_signed(RulingBody, message.ruling, platform.body.public_key)
        if ruling.body.order_id != order_id:
            raise Rejected(Reason.RECEIPT_FOREIGN)
        self._journal.add_part(order_id, PartKind.RULING, ruling.digest, message.ruling)
        document.ruling = RulingLine(ruling.body.charged_minor, ruling.body.reason)

    def closed(self, closed: OrderClosed, document: OrderDocument) -> None:
        """Take note that nothing is billed; a voucher that could still open something is burned."""
        if document.state in UNDER_WAY:
            self._stock.expect_back(document.device_id)
        document.state, document.reason = "CLOSED", f"{closed.state.name}: {closed.reason}"
        if self._book.clock() < document.not_after and not document.looked_through:
            burn(document)
        finish(document, self._book.clock())

    def _keep_along(self, order_id: OrderId, settled: Settled, record: ChargeRecordBody, document: OrderDocument) -> None:
        """Keep the parts that came with a bill which names them; what is a device's is checked as ever."""
        named = {(part.kind, part.hash) for part in record.parts}
        grant = settled.part(PartKind.DEVICE_GRANT)
        for part in settled.parts:
            body = BODIES.get(part.kind) or SEVERAL.get(part.kind)
            hashed = Digest(digest_of(body, part.signed)) if body else None
            if part.kind is PartKind.END_RECEIPT and grant is not None:
                self._keep_end(order_id, document, part.signed, grant)
            elif hashed is not None and (part.kind, hashed) in named:
                self._journal.add_part(order_id, part.kind, hashed, part.signed)

    def _keep_end(self, order_id: OrderId, document: OrderDocument, end_receipt: bytes, grant: bytes) -> None:
        try:
            self._sessions.keep_end(order_id, document, end_receipt, grant)
        except Rejected as refusal:
            logger.warning("the end receipt that came with a bill does not hold: %s", refusal)


def finish(document: OrderDocument, now: Instant) -> None:
    """Stop waiting; a worker whose session is still open is made free."""
    document.finished = document.finished or now
    document.confirm_until = document.review_until = None
    if document.kind == Kind.SERVICE.name and document.started is not None and not document.ended:
        document.release_wanted = True
