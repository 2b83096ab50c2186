"""What a user's terminal gets back from the cloud: its orders after its journal was lost, or those of the account's others.

Every part is opened from the platform root down, as if it came for the first time; one that does not hold is left out, and
what it would have proved is not believed. States follow from the parts; only that an order is closed is the cloud's word, and a
start receipt outweighs it. What is known already stays, so merging twice changes nothing. Source: ADR-0007.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from energyshare.bodies import (
    AmendmentAnswerBody,
    ChargeRecordBody,
    EndRequestBody,
    GrantBody,
    OfferBody,
    SelectionBody,
    SettlementAnswerBody,
    VoucherBody,
)
from energyshare.credentials import open_end_receipt, open_grant
from energyshare.errors import Reason, Rejected
from energyshare.messages import Settled, Snapshot, SnapshotOrder
from energyshare.places import distance_m
from energyshare.signing import key_id
from energyshare.tariff import TariffError
from energyshare.values import Kind, OrderState, PartKind, PublicKey, Role
from energyshare.wire import Presentable, encode, encode_presentable, open_signed, peek, take_apart
from terminals.stream import Terminal
from terminals.user import keeping
from terminals.user.bills import Bills
from terminals.user.order import KindName, OfferLine, UserOrder, all_orders, find_order, save_order
from terminals.user.work import Work

logger = logging.getLogger(__name__)

K = PartKind
KIND_NAMES: dict[Kind, KindName] = {Kind.BATTERY: "BATTERY", Kind.ENERGY: "ENERGY", Kind.SERVICE: "SERVICE"}
TOLD_BY_BILLS = (K.CHARGE_RECORD, K.READING, K.PLATFORM_GRANT)


def take_snapshot(terminal: Terminal, snapshot: Snapshot) -> None:
    """Merge what the cloud knows of this terminal's orders; inside a journal transaction."""
    for known in snapshot.orders:
        merge(terminal, known)


def merge(terminal: Terminal, known: SnapshotOrder) -> None:
    """Merge what the cloud knows of one order; one that is new here gets the next number for people."""
    order = find_order(terminal.journal, known.order_id) or _made(terminal, known)
    if order is not None:
        _Merging(terminal, known, order).run()
        save_order(terminal.journal, known.order_id, order)


def _made(terminal: Terminal, known: SnapshotOrder) -> UserOrder | None:
    """Give an order that this journal does not hold; None when the cloud leaves out what was demanded."""
    if known.demand is None or known.created_time is None:
        return None
    number = max((order.number for _, order in all_orders(terminal.journal)), default=0) + 1
    return UserOrder(number, encode(known.demand), known.created_time)


class _Merging:
    """One order's parts, merged kind by kind in the order in which they came about."""

    def __init__(self, terminal: Terminal, known: SnapshotOrder, order: UserOrder) -> None:
        self._terminal = terminal
        self._journal = terminal.journal
        self._root = terminal.identity.root_key
        self._known = known
        self._order = order
        self._id = known.order_id
        self._holder = self._named_holder()
        self._work = Work(terminal)

    def run(self) -> None:
        """Merge all parts, then the cloud's word."""
        for step in (self._offers, self._selection, self._voucher, self._start, self._readings, self._amendments):
            self._try(step)
        for step in (self._settlement, self._end_receipt, self._end_request, self._rulings, self._bills):
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

    def _named_holder(self) -> PublicKey:
        """Give the key that the voucher names, which its selection and presentation must be signed by."""
        voucher = self._one(K.VOUCHER)
        own = self._terminal.identity.key.public
        return peek(VoucherBody, voucher).holder_key if voucher else own

    def _all(self, kind: PartKind) -> Sequence[bytes]:
        return [part.signed for part in self._known.parts if part.kind is kind]

    def _one(self, kind: PartKind) -> bytes | None:
        return next(iter(self._all(kind)), None)

    def _issuer_grant(self, signed: bytes) -> bytes | None:
        """Find the grant of the key that signed something of a provider's."""
        hint = take_apart(signed).key_id
        for grant in self._all(K.ISSUER_GRANT):
            if key_id(peek(GrantBody, grant).public_key) == hint:
                return grant
        return None

    def _offers(self) -> None:
        for signed in self._all(K.OFFER):
            with self._attempt():
                currency = self._terminal.identity.currency
                grant = self._issuer_grant(signed)
                if grant is None:  # nobody selected it, and its grant is kept with what was
                    continue
                offer, hold = keeping.keep_offer(self._journal, self._id, signed, grant, self._root, currency)
                if all(line.digest != offer.digest for line in self._order.offers):
                    self._order.offers.append(OfferLine(offer.digest, hold, self._distance(offer.body)))

    def _distance(self, offer: OfferBody) -> int:
        return distance_m(self._known.demand.place, offer.asset.place) if self._known.demand else 0

    def _selection(self) -> None:
        opened = [open_signed(SelectionBody, signed, self._holder) for signed in self._all(K.SELECTION)]
        if not opened:
            return
        latest = max(opened, key=lambda one: one.body.selected_time)
        offer = keeping.kept_offer(self._journal, self._id, latest.body.offer_hash)
        self._journal.add_part(self._id, K.SELECTION, latest.digest, latest.signed)
        if self._order.state == "DEMANDED" and self._known.state is not OrderState.DEMANDED:
            self._order.state, self._order.selected = "SELECTED", latest.body.offer_hash
            self._order.kind = KIND_NAMES[offer.asset.kind]

    def _voucher(self) -> None:
        signed = self._one(K.VOUCHER)
        if signed is None or self._order.selected is None:
            return
        grant = self._issuer_grant(signed)
        if grant is None:
            raise Rejected(Reason.PART_MISSING, part=K.ISSUER_GRANT.name)
        presentable = encode_presentable(Presentable(signed, grant))
        offer = keeping.kept_offer(self._journal, self._id, self._order.selected)
        keeping.keep_voucher(self._journal, self._id, presentable, offer, self._holder, self._root)
        if self._holder == self._terminal.identity.key.public:
            self._order.presentable = presentable
        else:
            self._order.holder_key = self._holder
        if self._order.state in ("DEMANDED", "SELECTED"):
            self._order.state = "AUTHORIZED"

    def _start(self) -> None:
        receipt, grant = self._one(K.START_RECEIPT), self._one(K.DEVICE_GRANT)
        if receipt is not None and grant is not None:
            keeping.keep_start(self._journal, self._id, receipt, grant, self._root)
            if self._order.state in ("AUTHORIZED", "CANCELLED", "EXPIRED"):
                self._order.state = "ACTIVE"

    def _readings(self) -> None:
        readings, grant = tuple(self._all(K.READING)), self._one(K.DEVICE_GRANT)
        if readings and grant is not None:
            keeping.keep_readings(self._journal, self._id, readings, grant, self._root)

    def _amendments(self) -> None:
        for signed in self._all(K.AMENDMENT):
            with self._attempt():
                self._work.take_amendment(self._id, self._order, signed)
        for signed in self._all(K.AMENDMENT_ANSWER):
            answer = open_signed(AmendmentAnswerBody, signed, self._holder)
            self._journal.add_part(self._id, K.AMENDMENT_ANSWER, answer.digest, signed)
            for line in self._order.amendments:
                if line.digest == answer.body.amendment_hash:
                    line.approved = answer.body.approved

    def _settlement(self) -> None:
        request, answered = self._one(K.SETTLEMENT_REQUEST), self._one(K.SETTLEMENT_ANSWER)
        if request is not None:
            self._work.take_settlement(self._id, self._order, request)
        if answered is not None and self._order.settlement is not None:
            answer = open_signed(SettlementAnswerBody, answered, self._holder)
            self._journal.add_part(self._id, K.SETTLEMENT_ANSWER, answer.digest, answered)
            self._order.settlement.disputed_minor = answer.body.disputed_minor

    def _end_receipt(self) -> None:
        signed, grant = self._one(K.END_RECEIPT), self._one(K.DEVICE_GRANT)
        if signed is None or grant is None:
            return
        owner = keeping.issuer_key(self._journal, self._id, self._root)
        open_end_receipt(signed, open_grant(grant, self._root, Role.DEVICE), self._holder, owner)
        keeping.keep_end(self._journal, self._id, signed)
        if self._order.state == "ACTIVE":
            self._order.state = "ENDING"

    def _end_request(self) -> None:
        """Keep the request to end, the holder's or ours; one of a third terminal of the account is the cloud's to check."""
        for signed in self._all(K.END_REQUEST):
            own = self._terminal.identity.key.public
            request = open_signed(EndRequestBody, signed, own if take_apart(signed).key_id == key_id(own) else self._holder)
            self._journal.add_part(self._id, K.END_REQUEST, request.digest, signed)
            if self._order.state in ("AUTHORIZED", "ACTIVE", "ENDING"):
                self._order.state, self._order.requested_end = "ENDING", True

    def _rulings(self) -> None:
        kept = {part.signed for part in self._journal.parts(self._id, K.RULING)}
        for signed in self._all(K.RULING):
            if signed not in kept:
                Bills(self._terminal).rule(self._id, self._order, signed)

    def _bills(self) -> None:
        """Take the charge records, each after those before it; with each come all parts, of which it names its own.

        A bill that could not be proved is judged again, now that more parts may be there.
        """
        kept = {part.signed for part in self._journal.parts(self._id, K.CHARGE_RECORD)}
        parts = tuple(part for part in self._known.parts if part.kind not in TOLD_BY_BILLS)
        for signed in sorted(self._all(K.CHARGE_RECORD), key=lambda one: peek(ChargeRecordBody, one).settled_time):
            if signed not in kept or not self._order.proved:
                settled = Settled(signed, self._terminal.identity.platform_grant, parts)
                Bills(self._terminal).settle(self._id, self._order, settled)

    def _cloud_says(self) -> None:
        """Believe that an order was closed, unless it was started."""
        state, is_started = self._known.state, self._journal.part(self._id, K.START_RECEIPT) is not None
        if state in (OrderState.CANCELLED, OrderState.EXPIRED) and not is_started:
            self._order.state = "CANCELLED" if state is OrderState.CANCELLED else "EXPIRED"
        if state is OrderState.DISPUTED and self._order.state == "SETTLED":
            self._order.state = "DISPUTED"
