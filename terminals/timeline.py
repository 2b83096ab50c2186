"""An order's history as its terminal saw it: what was said, what was heard, what was done on the spot.

Entries are documents of the journal, written inside the transaction that is open, so that the history is never ahead of what
it tells of. Readings that follow each other are one entry, the latest of them. An entry is a sentence, not
a message: what proves anything are the signed parts.
"""

import struct
from typing import Literal

import msgspec

from energyshare.bodies import OfferBody, StartReceiptBody
from energyshare.messages import (
    Amendment,
    Demand,
    Dispute,
    EndConfirmed,
    Ended,
    EndRefused,
    Message,
    Reading,
    Ruling,
    SerialClosed,
    SettlementRefused,
    SettlementRequest,
    Started,
)
from energyshare.values import EnergyWh, Instant, OrderId, PartKind
from energyshare.wire import reread
from terminals.journal import Journal
from terminals.telling import UNKNOWN, Background, describe
from terminals.units import plain

Who = Literal["you", "cloud", "device"]

ENTRIES_MAX = 1_000  # of one order; far more than any order has, and a bound on what a broken cloud can fill
SIGNED_BY_DEVICES = (Started, Reading, Ended, SerialClosed)
READINGS = Reading.__name__
IN_NO_CURRENCY = (Demand, EndConfirmed, EndRefused, Amendment, SettlementRequest, SettlementRefused, Dispute, Ruling)
"""Messages whose amounts are in the order's currency, which they don't name."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One line of a history; `message` is the type of the message told of, empty for what was done on the spot."""

    at: Instant
    who: Who
    what: str
    detail: str = ""
    message: str = ""


def note_said(journal: Journal, order_id: OrderId | None, now: Instant, message: Message) -> None:
    """Keep that a message was said; what belongs to no order is not kept."""
    _note_message(journal, order_id, now, "you", message)


def note_heard(journal: Journal, order_id: OrderId | None, now: Instant, message: Message) -> None:
    """Keep that a message was heard, as the device's word where a device signed it."""
    by_device = isinstance(message, SIGNED_BY_DEVICES)
    _note_message(journal, order_id, now, "device" if by_device else "cloud", message)


def note(journal: Journal, order_id: OrderId, now: Instant, who: Who, what: str, detail: str = "") -> None:
    """Keep what was done on the spot, as that a device was opened."""
    _append(journal, order_id, Entry(now, who, what, detail))


def timeline(journal: Journal, order_id: OrderId) -> list[Entry]:
    """Give an order's history, oldest first."""
    return [_entry(journal, order_id, number) for number in range(_count(journal, order_id))]


def forget(journal: Journal, order_id: OrderId) -> None:
    """Drop an order's history; inside a journal transaction."""
    for number in range(_count(journal, order_id)):
        journal.drop_document("event", _key(order_id, number))
    journal.drop_document("events", order_id)


def _note_message(journal: Journal, order_id: OrderId | None, now: Instant, who: Who, message: Message) -> None:
    if order_id is None:
        return
    what, detail = map(plain, describe(message, _background(journal, order_id, message)))
    _append(journal, order_id, Entry(now, who, what, detail, type(message).__name__))


def _append(journal: Journal, order_id: OrderId, entry: Entry) -> None:
    count = _count(journal, order_id)
    if entry.message == READINGS and count and _entry(journal, order_id, count - 1).message == READINGS:
        count -= 1
    if count < ENTRIES_MAX:
        journal.put_document("event", _key(order_id, count), msgspec.msgpack.encode(entry))
        journal.put_document("events", order_id, struct.pack(">I", count + 1))


def _entry(journal: Journal, order_id: OrderId, number: int) -> Entry:
    body = journal.document("event", _key(order_id, number))
    assert body is not None
    return msgspec.msgpack.decode(body, type=Entry)


def _count(journal: Journal, order_id: OrderId) -> int:
    body = journal.document("events", order_id)
    return int.from_bytes(body, "big") if body else 0


def _key(order_id: OrderId, number: int) -> bytes:
    return order_id + struct.pack(">I", number)


def _background(journal: Journal, order_id: OrderId, message: Message) -> Background:
    """Look up what a message leaves out, only where it does."""
    if isinstance(message, Reading):
        return Background(start_register_wh=_start_register(journal, order_id))
    if isinstance(message, IN_NO_CURRENCY):
        offer = journal.part(order_id, PartKind.OFFER)
        return Background(reread(OfferBody, offer.signed).currency) if offer else UNKNOWN
    return UNKNOWN


def _start_register(journal: Journal, order_id: OrderId) -> EnergyWh | None:
    start = journal.part(order_id, PartKind.START_RECEIPT)
    return reread(StartReceiptBody, start.signed).register_wh if start else None
