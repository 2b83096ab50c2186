"""What a user terminal does with each message of an order; runs inside the journal's transaction.

It believes nothing that it can check: offers and vouchers are opened from the platform root down and compared with what was
asked and selected, and a bill counts only when the payment module derives it by itself.
"""

from typing import Literal

import msgspec

from energyshare.agreement import require_agreed, terms_of
from energyshare.bodies import GrantBody, OfferBody, OpenedVoucher, Verified
from energyshare.charging import hold_of
from energyshare.credentials import open_grant, open_issued, open_presentable, open_readings, open_start_receipt
from energyshare.errors import Reason, Rejected, sentence
from energyshare.messages import (
    Declined,
    Demand,
    Message,
    Offer,
    OrderClosed,
    Reading,
    RejectedMessage,
    Reopened,
    Screened,
    Settled,
    Started,
    Voucher,
    VoucherRejected,
    Withdrawn,
)
from energyshare.places import distance_m
from energyshare.signing import Label, digest
from energyshare.tariff import TariffError
from energyshare.values import OrderId, PartKind, ProviderId, Role
from energyshare.wire import decode, decode_presentable, peek
from terminals.journal import Journal
from terminals.link import Refusal
from terminals.stream import Terminal
from terminals.user import payment

State = Literal["DEMANDED", "SELECTED", "AUTHORIZED", "ACTIVE", "ENDING", "SETTLED", "CANCELLED", "EXPIRED", "REFUSED"]
OPEN: tuple[State, ...] = ("DEMANDED", "SELECTED", "AUTHORIZED", "ACTIVE", "ENDING")


class OfferLine(msgspec.Struct):
    """An offer as people number it; `hold_minor` is the most that it can cost, deposit included."""

    digest: bytes
    hold_minor: int
    distance_m: int
    withdrawn: bool = False


class UserOrder(msgspec.Struct):
    """What a user knows of an order beside its signed parts. `number` is for people."""

    number: int
    demand: bytes
    created: int
    state: State = "DEMANDED"
    candidates: int | None = None
    exclusions: list[tuple[str, int]] = []
    declined: list[str] = []
    offers: list[OfferLine] = []
    selected: bytes | None = None
    presentable: bytes | None = None
    reason: str = ""
    metadata: dict[str, str] = {}
    requested_end: bool = False
    total_minor: int | None = None
    proved: bool = False
    unproved_reason: str = ""


class UserOrders:
    """The handler of a user's messages, and the orders as documents of the journal."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._journal = terminal.journal
        self._root = terminal.identity.root_key

    def handle(self, order_id: OrderId | None, message: Message) -> None:
        """Take a message; answers are said through the terminal."""
        order = self.find(order_id) if order_id else None
        if order is None or order_id is None:
            return
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
                order.state, order.selected, order.reason = "DEMANDED", None, reason
            case Started(start_receipt, grant):
                self._take_start(order_id, order, start_receipt, grant)
            case Reading(readings, grant):
                self.keep_readings(order_id, readings, grant)
            case OrderClosed(state, reason):
                order.state, order.reason = "CANCELLED" if state.name == "CANCELLED" else "EXPIRED", reason
            case Settled():
                self._settle(order_id, order, message)
            case RejectedMessage(_, reason, metadata):
                self._take_rejection(order, reason, dict(metadata))
            case _:
                return
        self.save(order_id, order)

    def refused(self, refusal: Refusal) -> None:
        """Take note that the cloud has no such conversation: a demand that it did not take."""
        order = self.find(refusal.conversation) if refusal.conversation else None
        if order is not None and refusal.conversation is not None:
            order.reason, order.metadata = refusal.reason, dict(refusal.metadata)
            if order.state == "DEMANDED" and refusal.number == 1:
                order.state = "REFUSED"
            self.save(refusal.conversation, order)

    def find(self, order_id: OrderId) -> UserOrder | None:
        """Read what is known of an order."""
        body = self._journal.document("order", order_id)
        return msgspec.json.decode(body, type=UserOrder) if body else None

    def save(self, order_id: OrderId, order: UserOrder) -> None:
        """Store what is known of an order."""
        self._journal.put_document("order", order_id, msgspec.json.encode(order))

    def keep_start(self, order_id: OrderId, start_receipt: bytes, grant: bytes) -> bool:
        """Keep a start receipt of our voucher; says whether it was new. Raises Rejected when it does not hold."""
        if self._journal.part(order_id, PartKind.START_RECEIPT) is not None:
            return False
        device = open_grant(grant, self._root, Role.DEVICE)
        start = open_start_receipt(start_receipt, device, self._terminal.identity.key.public)
        voucher = self._journal.part(order_id, PartKind.VOUCHER)
        if voucher is None or start.voucher_hash != voucher.digest:
            raise Rejected(Reason.RECEIPT_FOREIGN)
        self._journal.add_part(order_id, PartKind.START_RECEIPT, start.receipt.digest, start_receipt)
        self._journal.add_part(order_id, PartKind.DEVICE_GRANT, device.digest, grant)
        return True

    def keep_readings(self, order_id: OrderId, readings: tuple[bytes, ...], grant: bytes) -> tuple[bytes, ...]:
        """Keep readings that are new, and give them. Raises Rejected when they do not hold."""
        device = open_grant(grant, self._root, Role.DEVICE)
        known = {part.digest for part in self._journal.parts(order_id, PartKind.READING)}
        new = [r for r in open_readings(readings, device) if r.digest not in known and r.body.order_id == order_id]
        for reading in new:
            self._journal.add_part(order_id, PartKind.READING, reading.digest, reading.signed, reading.body.number)
        return tuple(reading.signed for reading in new)

    def _take_offer(self, order_id: OrderId, order: UserOrder, signed: bytes, grant: bytes) -> None:
        """Keep an offer that holds; one that does not is as good as none, and is named."""
        try:
            offer, issuer, hold = self._checked_offer(order_id, signed, grant)
        except (Rejected, TariffError) as error:
            order.declined.append(f"an offer does not hold: {error}")
            return
        self._journal.add_part(order_id, PartKind.OFFER, offer.digest, signed)
        self._journal.add_part(order_id, PartKind.ISSUER_GRANT, issuer.digest, grant)
        order.offers.append(OfferLine(offer.digest, hold, distance_to(order, offer.body)))

    def _checked_offer(
        self, order_id: OrderId, signed: bytes, grant: bytes
    ) -> tuple[Verified[OfferBody], Verified[GrantBody], int]:
        issuer = open_grant(grant, self._root, Role.ISSUER)
        offer = open_issued(OfferBody, signed, issuer, ProviderId(issuer.body.subject_id))
        body = offer.body
        if body.order_id != order_id or bytes(body.provider_id) != bytes(issuer.body.subject_id):
            raise Rejected(Reason.OFFER_FOREIGN)
        if body.currency != self._terminal.identity.currency:
            raise Rejected(Reason.CURRENCY_MISMATCH, given=body.currency)
        if digest(Label.TARIFF, body.tariff) != body.asset.tariff_hash:
            raise Rejected(Reason.OFFER_TARIFF)
        return offer, issuer, hold_of(body)

    def _take_voucher(self, order_id: OrderId, order: UserOrder, presentable: bytes) -> None:
        """Keep a voucher that is the selected offer's and ours; say so otherwise."""
        try:
            opened = self._checked_voucher(order_id, order, presentable)
        except Rejected as refusal:
            order.reason, order.metadata = refusal.reason, dict(refusal.metadata)
            self._terminal.say(order_id, VoucherRejected(refusal.reason))
            return
        signed = decode_presentable(presentable)
        self._journal.add_part(order_id, PartKind.VOUCHER, opened.voucher.digest, signed.voucher)
        order.presentable = presentable
        if order.state in ("DEMANDED", "SELECTED"):
            order.state = "AUTHORIZED"

    def _checked_voucher(self, order_id: OrderId, order: UserOrder, presentable: bytes) -> OpenedVoucher:
        opened = open_presentable(presentable, self._root)
        terms = terms_of(self.selected_offer(order_id, order), self._terminal.identity.key.public)
        require_agreed(opened.voucher.body, opened.grant.body, terms)
        return opened

    def selected_offer(self, order_id: OrderId, order: UserOrder) -> OfferBody:
        """Give the offer that was selected; raises Rejected{OFFER_UNKNOWN}."""
        if order.selected is None:
            raise Rejected(Reason.OFFER_UNKNOWN)
        return self.offer(order_id, order.selected)

    def offer(self, order_id: OrderId, offer_hash: bytes) -> OfferBody:
        """Give an offer that is kept; raises Rejected{OFFER_UNKNOWN}."""
        for part in self._journal.parts(order_id, PartKind.OFFER):
            if part.digest == offer_hash:
                return peek(OfferBody, part.signed)
        raise Rejected(Reason.OFFER_UNKNOWN)

    def _take_start(self, order_id: OrderId, order: UserOrder, start_receipt: bytes, grant: bytes) -> None:
        self.keep_start(order_id, start_receipt, grant)
        if order.state == "AUTHORIZED":
            order.state = "ACTIVE"

    def _take_rejection(self, order: UserOrder, reason: str, metadata: dict[str, str]) -> None:
        order.reason, order.metadata = reason, metadata
        if order.state == "SELECTED":
            order.state, order.selected = "DEMANDED", None
        order.requested_end = False

    def _settle(self, order_id: OrderId, order: UserOrder, settled: Settled) -> None:
        """Keep the bill, and say whether it follows from the evidence."""
        record = payment.keep_bill(self._journal, order_id, settled, self._root)
        order.state, order.total_minor = "SETTLED", record.body.incl_vat_minor + record.body.deposit_claimed_minor
        try:
            payment.prove(self._journal, order_id, self._root)
            order.proved = True
        except (Rejected, TariffError) as error:
            order.unproved_reason = str(error)


def distance_to(order: UserOrder, offer: OfferBody) -> int:
    """Give how far an offer's asset is from where it was demanded, metres."""
    return distance_m(decode(Demand, order.demand).place, offer.asset.place)


def all_orders(journal: Journal) -> list[tuple[OrderId, UserOrder]]:
    """List all orders by their number."""
    found = [(OrderId(key), msgspec.json.decode(body, type=UserOrder)) for key, body in journal.documents("order")]
    return sorted(found, key=lambda one: one[1].number)


def why(order: UserOrder) -> str:
    """Say the last thing that was refused or ended an order, in words."""
    return sentence(order.reason, order.metadata) if order.reason else ""
