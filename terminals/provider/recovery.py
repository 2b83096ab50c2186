"""What a provider gets back from the cloud after its journal was lost: offers, vouchers, and the orders under way.

Only what our own key, our own devices, the voucher's holder and the platform signed is taken. A serial once given is never
given again: it is raised to the highest of any voucher that comes back, and one that no voucher shows is lower than the Unix
milliseconds of now. What is known already stays, so merging twice changes nothing. Source: ADR-0007.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from energyshare.bodies import (
    AmendmentBody,
    Body,
    ChargeRecordBody,
    EndConfirmationBody,
    EndRefusalBody,
    NotReturnedBody,
    OfferBody,
    SelectionBody,
    SettlementRequestBody,
    Verified,
    VoucherBody,
)
from energyshare.charging import hold_of
from energyshare.errors import Rejected
from energyshare.messages import OrderClosed, Ruling, Settled, Snapshot, SnapshotOrder
from energyshare.places import place_name
from energyshare.tariff import TariffError
from energyshare.values import OrderState, PartKind, of_unix_s
from energyshare.wire import encode, open_signed, peek
from terminals.provider.documents import AmendmentLine, OfferLine, OrderDocument, SettlementLine, selected_offer
from terminals.provider.inventory import tell_inventory
from terminals.provider.orders import ProviderOrders

logger = logging.getLogger(__name__)

K = PartKind
OWN_WORDS: dict[PartKind, type[Body]] = {
    K.END_CONFIRMATION: EndConfirmationBody,
    K.END_REFUSAL: EndRefusalBody,
    K.NOT_RETURNED: NotReturnedBody,
}
"""What we signed that a document does not repeat."""
TOLD_BY_BILLS = (K.CHARGE_RECORD, K.READING, K.PLATFORM_GRANT)


def take_snapshot(orders: ProviderOrders, snapshot: Snapshot) -> None:
    """Merge what the cloud knows of our orders, and tell it again what there is; inside a journal transaction.

    The cloud has forgotten the versions of our assets with the numbers of our messages.
    """
    for known in snapshot.orders:
        document = orders.document(known.order_id)
        _Merging(orders, known, document).run()
        orders.save(known.order_id, document)
    journal = orders.book.journal
    for asset_id, _ in journal.documents("asset"):
        journal.drop_document("asset", asset_id)
    tell_inventory(orders.book.terminal, orders.catalog)


class _Merging:
    """One order's parts, merged kind by kind in the order in which they came about."""

    def __init__(self, orders: ProviderOrders, known: SnapshotOrder, document: OrderDocument) -> None:
        self._orders = orders
        self._journal = orders.book.journal
        self._identity = orders.book.terminal.identity
        self._known = known
        self._document = document
        self._id = known.order_id

    def run(self) -> None:
        """Merge all parts, then the cloud's word."""
        self._demand()
        for step in (self._offers, self._voucher, self._start, self._readings, self._amendments, self._settlement):
            self._try(step)
        for step in (self._end, self._closed_serials, self._own_words, self._rulings, self._bills):
            self._try(step)
        self._cloud_says()

    def _try(self, step: Callable[[], None]) -> None:
        with self._attempt():
            step()

    @contextmanager
    def _attempt(self) -> Iterator[None]:
        """Leave out what does not hold; the rest of the order is merged all the same."""
        try:
            with self._journal.attempt():
                yield
        except (Rejected, TariffError) as error:
            logger.warning("a part of an order does not hold and is left out: %s", error)

    def _all(self, kind: PartKind) -> Sequence[bytes]:
        return [part.signed for part in self._known.parts if part.kind is kind]

    def _one(self, kind: PartKind) -> bytes | None:
        return next(iter(self._all(kind)), None)

    def _lacks(self, kind: PartKind, signed: bytes) -> bool:
        return all(part.signed != signed for part in self._journal.parts(self._id, kind))

    def _demand(self) -> None:
        if not self._document.demand and self._known.demand is not None and self._known.created_time is not None:
            self._document.demand = encode(self._known.demand)
            self._document.created = self._known.created_time

    def _offers(self) -> None:
        for signed in self._all(K.OFFER):
            with self._attempt():
                offer = open_signed(OfferBody, signed, self._identity.key.public)
                self._journal.add_part(self._id, K.OFFER, offer.digest, signed)
                if all(line.digest != offer.digest for line in self._document.offers):
                    self._document.offers.append(_line_of(offer))
        if self._document.offers and self._document.state == "ASKED":
            self._document.state = "OFFERED"

    def _voucher(self) -> None:
        signed, selected = self._one(K.VOUCHER), self._one(K.SELECTION)
        if signed is None or selected is None:
            return
        voucher = open_signed(VoucherBody, signed, self._identity.key.public)
        self._never_reuse(voucher.body)
        if self._document.voucher:
            return
        selection = open_signed(SelectionBody, selected, voucher.body.holder_key)
        self._document.attempts += 1
        self._journal.add_part(self._id, K.SELECTION, selection.digest, selected, self._document.attempts)
        self._journal.add_part(self._id, K.VOUCHER, voucher.digest, signed, self._document.attempts)
        self._document.selected = selection.body.offer_hash
        self._authorize(voucher, selected_offer(self._journal, self._id, self._document))

    def _never_reuse(self, voucher: VoucherBody) -> None:
        last = int(self._journal.document("serial", voucher.device_id) or b"0")
        self._journal.put_document("serial", voucher.device_id, str(max(last, voucher.serial)).encode())

    def _authorize(self, voucher: Verified[VoucherBody], offer: OfferBody) -> None:
        document, asset = self._document, offer.asset
        document.state, document.reason, document.kind = "AUTHORIZED", "", asset.kind.name
        document.asset, document.device_id = place_name(asset.station, asset.name), asset.device_id
        document.holder_key, document.voucher = voucher.body.holder_key, voucher.digest
        document.not_after = of_unix_s(voucher.body.not_after_unix_s)
        document.deposit_minor, document.items = asset.deposit_minor, list(offer.items)

    def _start(self) -> None:
        receipt, grant = self._one(K.START_RECEIPT), self._one(K.DEVICE_GRANT)
        if receipt is not None and grant is not None:
            self._orders.sessions.keep_start(self._id, self._document, receipt, grant)

    def _readings(self) -> None:
        readings, grant = tuple(self._all(K.READING)), self._one(K.DEVICE_GRANT)
        if readings and grant is not None:
            self._orders.sessions.keep_readings(self._id, self._document, readings, grant)

    def _amendments(self) -> None:
        for signed in self._all(K.AMENDMENT):
            amendment = open_signed(AmendmentBody, signed, self._identity.key.public)
            body = amendment.body
            self._journal.add_part(self._id, K.AMENDMENT, amendment.digest, signed, body.number)
            if all(line.digest != amendment.digest for line in self._document.amendments):
                line = AmendmentLine(body.number, amendment.digest, list(body.items), body.duration_s, body.hold_minor)
                self._document.amendments.append(line)
        for signed in self._all(K.AMENDMENT_ANSWER):
            self._orders.jobs.take_answer(self._id, self._document, signed)

    def _settlement(self) -> None:
        signed, answer = self._one(K.SETTLEMENT_REQUEST), self._one(K.SETTLEMENT_ANSWER)
        if signed is not None and self._lacks(K.SETTLEMENT_REQUEST, signed):
            self._take_request(signed)
        if answer is not None:
            self._orders.jobs.take_settlement_answer(self._id, self._document, answer)

    def _take_request(self, signed: bytes) -> None:
        request = open_signed(SettlementRequestBody, signed, self._identity.key.public)
        body = request.body
        self._journal.add_part(self._id, K.SETTLEMENT_REQUEST, request.digest, signed, 1)
        self._document.settlement = SettlementLine(request.digest, list(body.items), body.duration_s, body.total_minor)
        if self._document.state == "ACTIVE":
            self._document.state, self._document.release_wanted = "ENDING", not self._document.ended

    def _end(self) -> None:
        receipt, grant = self._one(K.END_RECEIPT), self._one(K.DEVICE_GRANT)
        if receipt is not None and grant is not None:
            self._orders.sessions.keep_end(self._id, self._document, receipt, grant)
            if self._document.state == "ACTIVE":
                self._document.state = "ENDING"

    def _closed_serials(self) -> None:
        grant = self._one(K.DEVICE_GRANT)
        for signed in self._all(K.SERIAL_CLOSED) if grant is not None else ():
            assert grant is not None
            self._orders.sessions.keep_closed(self._id, self._document, signed, grant)

    def _own_words(self) -> None:
        for kind, body in OWN_WORDS.items():
            for signed in self._all(kind):
                own: Verified[Body] = open_signed(body, signed, self._identity.key.public)
                self._journal.add_part(self._id, kind, own.digest, signed)
                self._document.not_returned = self._document.not_returned or kind is K.NOT_RETURNED

    def _rulings(self) -> None:
        for signed in self._all(K.RULING):
            self._orders.bills.ruled(self._id, Ruling(signed), self._document)

    def _bills(self) -> None:
        """Take the charge records that are new, each after those before it."""
        parts = tuple(part for part in self._known.parts if part.kind not in TOLD_BY_BILLS)
        for signed in sorted(self._all(K.CHARGE_RECORD), key=lambda one: peek(ChargeRecordBody, one).settled_time):
            if self._lacks(K.CHARGE_RECORD, signed):
                settled = Settled(signed, self._identity.platform_grant, parts)
                self._orders.bills.settled(self._id, settled, self._document)

    def _cloud_says(self) -> None:
        """Believe that an order was closed, unless it was started."""
        state, document = self._known.state, self._document
        if state in (OrderState.CANCELLED, OrderState.EXPIRED) and document.started is None and document.state != "CLOSED":
            self._orders.bills.closed(OrderClosed(state, state.name), document)
        if state is OrderState.DISPUTED and document.state == "SETTLED":
            document.state = "DISPUTED"


def _line_of(offer: Verified[OfferBody]) -> OfferLine:
    body = offer.body
    return OfferLine(offer.digest, place_name(body.asset.station, body.asset.name), hold_of(body), body.expiry_time)
