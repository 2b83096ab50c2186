"""What a provider knows of its orders beside their signed parts: documents of the journal, numbered for people.

Two indexes say whose devices are asked: `under-way` often, `left-behind` now and then, as a start or an end that comes late
still counts.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from energyshare.bodies import OfferBody, ServiceItem
from energyshare.errors import Reason, Rejected
from energyshare.messages import Message
from energyshare.values import Instant, OrderId, PartKind
from energyshare.wire import peek
from terminals.journal import Journal

if TYPE_CHECKING:
    from terminals.stream import Terminal

State = Literal["ASKED", "OFFERED", "AUTHORIZED", "ACTIVE", "ENDING", "DISPUTED", "SETTLED", "CLOSED"]
UNDER_WAY: tuple[State, ...] = ("AUTHORIZED", "ACTIVE", "ENDING")
INDEXES = ("under-way", "left-behind")


class OfferLine(msgspec.Struct):
    """An offer that was made; `expires` is an Instant."""

    digest: bytes
    asset: str
    hold_minor: int
    expires: int
    withdrawn: bool = False


class AmendmentLine(msgspec.Struct):
    """Extra work that was proposed; `approved` is None until the user has answered."""

    number: int
    digest: bytes
    items: list[ServiceItem]
    duration_s: int
    hold_minor: int
    approved: bool | None = None


class SettlementLine(msgspec.Struct):
    """What was asked for a service; `disputed_minor` is None until the user has answered, 0 when it confirmed."""

    digest: bytes
    items: list[ServiceItem]
    duration_s: int
    total_minor: int
    disputed_minor: int | None = None


class ClaimLine(msgspec.Struct):
    """What a person claims of a deposit at an end, and why; `told` once it was signed."""

    claimed_minor: int
    reason: str
    told: bool = False


class DisputeLine(msgspec.Struct):
    """What the user disputes of a bill, and why."""

    disputed_minor: int
    reason: str


class RulingLine(msgspec.Struct):
    """What the operator has the user pay of the disputed part, and why."""

    charged_minor: int
    reason: str


class OrderDocument(msgspec.Struct):
    """What a provider knows of an order beside its signed parts.

    `number` is for people; times are Instants. `burn` lists vouchers that the device is to void, by hash; `said` what our
    messages were about that the cloud may refuse, by their number. `looked_through` says that no device can have anything new.
    """

    number: int = 0
    state: State = "ASKED"
    kind: str = ""
    created: int = 0
    demand: bytes = b""
    asset: str = ""
    device_id: bytes = b""
    holder_key: bytes = b""
    reason: str = ""
    offers: list[OfferLine] = []
    selected: bytes = b""
    attempts: int = 0
    voucher: bytes = b""
    not_after: int = 0
    burn: list[bytes] = []
    cancel_reason: str = ""
    cancelled_by: Literal["", "user", "provider"] = ""
    items: list[ServiceItem] = []
    amendments: list[AmendmentLine] = []
    settlement: SettlementLine | None = None
    started: int | None = None
    due_back: int | None = None
    readings: int = 0
    ended: bool = False
    looked_through: bool = False
    release_wanted: bool = False
    confirm_until: int | None = None
    review_until: int | None = None
    claim: ClaimLine | None = None
    not_returned: bool = False
    total_minor: int = 0
    deposit_minor: int = 0
    deposit_claimed_minor: int = 0
    disputed_minor: int = 0
    basis: str = ""
    finished: int | None = None
    dispute: DisputeLine | None = None
    ruling: RulingLine | None = None
    said: dict[int, str] = {}


def documents(journal: Journal) -> list[tuple[OrderId, OrderDocument]]:
    """List what is known of all orders, oldest first."""
    return [(OrderId(key), decoded(body)) for key, body in journal.documents("order")]


def numbered(journal: Journal, number: int) -> OrderId:
    """Find an order by its number; raises Rejected{UNKNOWN_ORDER}."""
    order_id = journal.document("order-number", number.to_bytes(8, "big"))
    if order_id is None:
        raise Rejected(Reason.UNKNOWN_ORDER, order=str(number))
    return OrderId(order_id)


def decoded(body: bytes) -> OrderDocument:
    """Read a document as the journal holds it."""
    return msgspec.json.decode(body, type=OrderDocument)


def selected_offer(journal: Journal, order_id: OrderId, document: OrderDocument) -> OfferBody:
    """Give the offer that the user selected; raises Rejected{OFFER_UNKNOWN} before that."""
    for part in journal.parts(order_id, PartKind.OFFER):
        if part.digest == document.selected:
            return peek(OfferBody, part.signed)
    raise Rejected(Reason.OFFER_UNKNOWN)


def require_state(document: OrderDocument, *states: State) -> None:
    """Raise Rejected{WRONG_STATE} unless an order is in one of these states."""
    if document.state not in states:
        raise Rejected(Reason.WRONG_STATE, order=str(document.number), state=document.state)


class OrderBook:
    """The orders of a journal. All but reading happens inside a journal transaction."""

    def __init__(self, terminal: "Terminal", clock: Callable[[], Instant]) -> None:
        self.terminal = terminal
        self.journal = terminal.journal
        self.clock = clock

    def read(self, order_id: OrderId) -> OrderDocument:
        """Give what is known of an order; an empty document for one that is new."""
        body = self.journal.document("order", order_id)
        return decoded(body) if body else OrderDocument(created=self.clock())

    def find(self, order_id: OrderId) -> OrderDocument:
        """Give what is known of an order; raises Rejected{UNKNOWN_ORDER}."""
        body = self.journal.document("order", order_id)
        if body is None:
            raise Rejected(Reason.UNKNOWN_ORDER)
        return decoded(body)

    def save(self, order_id: OrderId, document: OrderDocument) -> None:
        """Store what is known of an order, and give it a number if it has none."""
        if not document.number:
            document.number = self._next_number(order_id)
        self.journal.put_document("order", order_id, msgspec.json.encode(document))
        found = _index_of(document)
        for index in INDEXES:
            if index == found:
                self.journal.put_document(index, order_id, b"")
            else:
                self.journal.drop_document(index, order_id)

    def tell(self, order_id: OrderId, document: OrderDocument, message: Message, about: str) -> None:
        """Say a message that the cloud may refuse; `about` names it when it does."""
        document.said[self.terminal.say(order_id, message)] = about

    def indexed(self, index: str) -> Iterator[tuple[OrderId, OrderDocument]]:
        """List the orders of an index."""
        for key, _ in self.journal.documents(index):
            yield OrderId(key), self.read(OrderId(key))

    def _next_number(self, order_id: OrderId) -> int:
        number = int(self.journal.document("counter", b"order") or b"0") + 1
        self.journal.put_document("counter", b"order", str(number).encode())
        self.journal.put_document("order-number", number.to_bytes(8, "big"), order_id)
        return number


def _index_of(document: OrderDocument) -> str | None:
    if document.state in UNDER_WAY or document.burn or document.release_wanted:
        return "under-way"
    can_come = document.voucher and not document.ended and not document.looked_through
    return "left-behind" if can_come else None
