"""What our devices signed about orders: checked, and kept before anyone is told.

The first start receipt and the first end receipt of an order govern; another one is refused as RECEIPT_CONFLICT. A start
counts whenever it comes, also after the order was closed.
"""

from energyshare.bodies import (
    EndReceiptBody,
    GrantBody,
    OpenedStart,
    SerialClosedBody,
    StartReceiptBody,
    Verified,
    VoucherBody,
)
from energyshare.charging import clamp_start_time
from energyshare.credentials import (
    open_end_receipt,
    open_grant,
    open_readings,
    open_serial_closed,
    open_start_receipt,
)
from energyshare.errors import Reason, Rejected
from energyshare.values import Digest, Kind, OrderId, PartKind, ProviderId, PublicKey, Role, later
from energyshare.wire import digest_of, peek
from terminals.provider.documents import OrderBook, OrderDocument, selected_offer
from terminals.provider.stock import Stock


class Sessions:
    """Keeps evidence of sessions and of burned vouchers; inside a journal transaction."""

    def __init__(self, book: OrderBook, stock: Stock) -> None:
        self._book = book
        self._stock = stock
        self._journal = book.journal
        self._identity = book.terminal.identity

    def own_device(self, grant: bytes) -> Verified[GrantBody]:
        """Open the grant of a device of ours; raises Rejected{GRANT_OWNER} for another's."""
        device = open_grant(grant, self._identity.root_key, Role.DEVICE)
        if device.body.owner_id != ProviderId(self._identity.owner_id):
            raise Rejected(Reason.GRANT_OWNER)
        return device

    def keep_start(self, order_id: OrderId, document: OrderDocument, start_receipt: bytes, grant: bytes) -> bool:
        """Keep a start receipt of our voucher by our device; says whether it was new. Raises Rejected when it does not hold."""
        kept = self._journal.part(order_id, PartKind.START_RECEIPT)
        if kept is not None and kept.digest != digest_of(StartReceiptBody, start_receipt):
            raise Rejected(Reason.RECEIPT_CONFLICT)
        if kept is not None:
            return False
        if not document.voucher:
            raise Rejected(Reason.RECEIPT_FOREIGN)
        device = self.own_device(grant)
        start = open_start_receipt(start_receipt, device, PublicKey(document.holder_key))
        receipt = start.receipt.body
        found = (receipt.order_id, bytes(receipt.device_id), start.voucher_hash)
        if found != (order_id, document.device_id, document.voucher):
            raise Rejected(Reason.RECEIPT_FOREIGN)
        self._journal.add_part(order_id, PartKind.START_RECEIPT, start.receipt.digest, start_receipt)
        self._journal.add_part(order_id, PartKind.DEVICE_GRANT, device.digest, grant)
        self._begin(order_id, document, start)
        return True

    def keep_readings(
        self, order_id: OrderId, document: OrderDocument, readings: tuple[bytes, ...], grant: bytes
    ) -> tuple[bytes, ...]:
        """Keep readings that are new, and give them. Raises Rejected when they do not hold."""
        device = self.own_device(grant)
        new = [r for r in open_readings(readings, device) if r.body.number > document.readings and r.body.order_id == order_id]
        for reading in new:
            self._journal.add_part(order_id, PartKind.READING, reading.digest, reading.signed, reading.body.number)
        if new:
            document.readings = new[-1].body.number
        return tuple(reading.signed for reading in new)

    def keep_end(self, order_id: OrderId, document: OrderDocument, end_receipt: bytes, grant: bytes) -> bool:
        """Keep an end receipt and the start that it repeats; says whether it was new. Raises Rejected when it does not hold."""
        kept = self._journal.part(order_id, PartKind.END_RECEIPT)
        if kept is not None and kept.digest != digest_of(EndReceiptBody, end_receipt):
            raise Rejected(Reason.RECEIPT_CONFLICT)
        if kept is not None:
            return False
        if not document.voucher:
            raise Rejected(Reason.RECEIPT_FOREIGN)
        device = self.own_device(grant)
        end = open_end_receipt(end_receipt, device, PublicKey(document.holder_key), self._identity.key.public).receipt
        if (end.body.order_id, bytes(end.body.device_id)) != (order_id, document.device_id):
            raise Rejected(Reason.RECEIPT_FOREIGN)
        self.keep_start(order_id, document, end.body.start_receipt, grant)
        self._journal.add_part(order_id, PartKind.END_RECEIPT, end.digest, end_receipt)
        self._stock.note_charge(end.body)
        document.ended, document.release_wanted = True, False
        return True

    def keep_closed(self, order_id: OrderId, document: OrderDocument, statement: bytes, grant: bytes) -> bool:
        """Keep a device's word that a voucher is void; says whether the order waits for it.

        Raises: Rejected when it is of none of the order's vouchers, or does not hold.
        """
        closed = open_serial_closed(statement, self.own_device(grant))
        voucher = self._voucher_of(order_id, closed.body)
        self._journal.add_part(order_id, PartKind.SERIAL_CLOSED, closed.digest, statement, closed.body.receipt_number)
        document.burn = [digest for digest in document.burn if digest != voucher]
        if voucher != document.voucher or document.looked_through:
            return False
        document.looked_through = True
        return document.state == "AUTHORIZED"

    def readings_due(self, order_id: OrderId) -> int:
        """Give how many readings the end receipt that is kept counts."""
        end = self._journal.part(order_id, PartKind.END_RECEIPT)
        return peek(EndReceiptBody, end.signed).readings_count if end else 0

    def _begin(self, order_id: OrderId, document: OrderDocument, start: OpenedStart) -> None:
        offer = selected_offer(self._journal, order_id, document)
        voucher = peek(VoucherBody, self.signed_voucher(order_id, document.voucher))
        started = clamp_start_time(start.receipt.body.start_time, voucher.not_before_unix_s, self._book.clock())
        document.started = started
        document.burn = [digest for digest in document.burn if digest != document.voucher]
        if offer.asset.kind is Kind.BATTERY:
            document.due_back = later(started, voucher.duration_s_max + offer.return_grace_s)
        if document.state in ("AUTHORIZED", "CLOSED"):
            document.state = "ACTIVE"

    def _voucher_of(self, order_id: OrderId, closed: SerialClosedBody) -> Digest:
        for part in self._journal.parts(order_id, PartKind.VOUCHER):
            voucher = peek(VoucherBody, part.signed)
            found = (closed.order_id, closed.device_id, closed.serial, closed.epoch)
            if found == (voucher.order_id, voucher.device_id, voucher.serial, voucher.epoch):
                return part.digest
        raise Rejected(Reason.RECEIPT_FOREIGN)

    def signed_voucher(self, order_id: OrderId, digest: bytes) -> bytes:
        """Give a voucher of an order as we signed it."""
        return next(part.signed for part in self._journal.parts(order_id, PartKind.VOUCHER) if part.digest == digest)
