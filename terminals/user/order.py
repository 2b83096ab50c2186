"""What a user's terminal knows of an order beside its signed parts: one document of the journal each.

Fields that came later have defaults, so that documents written before still decode. All amounts are minor units.
"""

import os
from typing import Literal

import msgspec

from energyshare.bodies import ServiceItem
from energyshare.errors import Reason, Rejected, sentence
from energyshare.values import Instant, Kind, OrderId
from terminals.journal import Journal

OpenState = Literal["DEMANDED", "SELECTED", "AUTHORIZED", "ACTIVE", "ENDING"]
State = OpenState | Literal["SETTLED", "DISPUTED", "CANCELLED", "EXPIRED", "REFUSED"]
Act = Literal["SELECTION", "CANCEL", "END", "AMENDMENT", "SETTLEMENT", "DISPUTE"]
"""What a user says that the cloud may refuse."""
KindName = Literal["", "BATTERY", "ENERGY", "SERVICE"]
KINDS: dict[Kind, KindName] = {Kind.BATTERY: "BATTERY", Kind.ENERGY: "ENERGY", Kind.SERVICE: "SERVICE"}
OPEN: tuple[State, ...] = ("DEMANDED", "SELECTED", "AUTHORIZED", "ACTIVE", "ENDING")
DISPUTE_REASON_MAX = 500  # characters; the contract's
CLOSED: tuple[State, ...] = ("CANCELLED", "EXPIRED")


class OfferLine(msgspec.Struct):
    """An offer as people number it; `hold_minor` is the most that it can cost, deposit included."""

    digest: bytes
    hold_minor: int
    distance_m: int
    withdrawn: bool = False


class AmendmentLine(msgspec.Struct):
    """Extra work that the provider proposed; `hold_minor` is what it adds to the most that the service can cost.

    `approved` is None until it is answered. `fault` says why this terminal refused it by itself.
    """

    number: int
    digest: bytes
    items: list[ServiceItem]
    duration_s: int
    hold_minor: int
    approved: bool | None = None
    fault: str = ""


class SettlementAsked(msgspec.Struct):
    """What the provider asks for a service; `bill_minor` is what its items and time cost as computed here.

    `disputed_minor` is the answer, 0 when all was confirmed; None until it is given. `fault` says what was never agreed.
    """

    digest: bytes
    items: list[ServiceItem]
    duration_s: int
    total_minor: int
    bill_minor: int | None = None
    disputed_minor: int | None = None
    fault: str = ""


class RulingMade(msgspec.Struct):
    """What the operator ruled: how much of the disputed part is charged, and why."""

    charged_minor: int
    reason: str
    ruled: int


class UserOrder(msgspec.Struct):
    """What a user knows of an order. `number` is for people.

    `reason` is what was last refused or ended it; `refused` the act of the user's that the cloud refused, until the next one.
    `asked` holds the number of the envelope that each kind of act was last said in. `total_minor`, `proved` and
    `disputed_minor` are of the latest charge record. `holder_key` is that of the account's terminal which selected, where
    that is another.
    """

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
    kind: KindName = ""
    asked: dict[Act, int] = {}
    refused: Literal["", Act] = ""
    cancel_asked: Literal["", "USER", "PROVIDER"] = ""
    cancel_reason: str = ""
    amendments: list[AmendmentLine] = []
    settlement: SettlementAsked | None = None
    disputed_minor: int = 0
    dispute_reason: str = ""
    disputed_records: list[bytes] = []
    rulings: list[RulingMade] = []
    settled: int | None = None
    holder_key: bytes | None = None

    @property
    def waiting_amendment(self) -> AmendmentLine | None:
        """The amendment that waits for an answer."""
        return next((line for line in self.amendments if line.approved is None), None)

    @property
    def waiting_settlement(self) -> SettlementAsked | None:
        """The settlement request that waits for an answer."""
        asked = self.settlement
        return asked if asked is not None and asked.disputed_minor is None and self.state == "ENDING" else None

    def note_asked(self, act: Act, number: int) -> None:
        """Remember which envelope an act was said in, and forget what was refused before."""
        self.asked[act] = number
        self.reason, self.metadata, self.refused = "", {}, ""

    def note_refused(self, number: int, reason: str, metadata: dict[str, str]) -> Act | None:
        """Remember what was refused; gives the act that an envelope carried, or None when it was none that is remembered."""
        act = next((act for act in self.asked if self.asked[act] == number), None)
        self.reason, self.metadata = reason, metadata
        if act is not None:
            del self.asked[act]
            self.refused = act
        return act

    def reopen_amendment(self) -> None:
        """Have the amendment that was answered last wait for its answer again; one that does not hold stays refused."""
        answered = [line for line in self.amendments if line.approved is not None and not line.fault]
        if answered:
            answered[-1].approved = None


def new_order_id(now: Instant) -> OrderId:
    """Make an order id: a UUID of version 7, whose first 48 bits are milliseconds. Source: RFC 9562, 5.7."""
    value = bytearray((now // 1_000).to_bytes(6, "big") + os.urandom(10))
    value[6] = value[6] & 0x0F | 0x70
    value[8] = value[8] & 0x3F | 0x80
    return OrderId(bytes(value))


def find_order(journal: Journal, order_id: OrderId) -> UserOrder | None:
    """Read what is known of an order."""
    body = journal.document("order", order_id)
    return msgspec.json.decode(body, type=UserOrder) if body else None


def save_order(journal: Journal, order_id: OrderId, order: UserOrder) -> None:
    """Store what is known of an order."""
    journal.put_document("order", order_id, msgspec.json.encode(order))


def all_orders(journal: Journal) -> list[tuple[OrderId, UserOrder]]:
    """List all orders by their number."""
    found = [(OrderId(key), msgspec.json.decode(body, type=UserOrder)) for key, body in journal.documents("order")]
    return sorted(found, key=lambda one: one[1].number)


def require_state(order: UserOrder, *states: State) -> None:
    """Raise Rejected{WRONG_STATE} unless an order is in one of some states."""
    if order.state not in states:
        raise Rejected(Reason.WRONG_STATE, state=order.state)


def why(order: UserOrder) -> str:
    """Say the last thing that was refused or ended an order, in words."""
    return sentence(order.reason, order.metadata) if order.reason else ""
