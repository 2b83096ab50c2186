"""How a stream begins: whether numbers go on, or all conversations of a terminal begin anew. Source: ADR-0007.

Numbers mean something only between one journal and one database. Each has an incarnation; when a terminal's journal, or the
cloud's database, is not the one that the other knew, both forget their numbers, and each says first what it knows of their
orders. Runs in the processor, so that orders in its memory and in the database begin anew together.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from msgspec import Struct
from sqlalchemy import Select, delete, select, update

from cloud.domain.known import Grants, asked_of, known_to
from cloud.domain.order import Order, Participant, StoredPart
from cloud.store import tables as t
from cloud.store.known import next_of_account, next_to_tell
from cloud.store.unit import TerminalRow
from cloud.work import WorkingSet
from energyshare.messages import Message, SettlementRequest, SnapshotOrder
from energyshare.records import replace
from energyshare.signing import key_id
from energyshare.snapshots import pages
from energyshare.values import AccountId, AssetState, Incarnation, Instant, Number, OrderId, ProviderId, PublicKey, TerminalId
from energyshare.wire import Envelope, encode_envelope, take_apart

ACCOUNT_PAGE = 20


class Greeting(Struct, frozen=True):
    """What a terminal says at first: its journal, and the cloud's database as it last knew it."""

    terminal: TerminalId
    incarnation: Incarnation
    known: Incarnation | None


def greet(work: WorkingSet, greeting: Greeting, own: Incarnation) -> bool:
    """Say whether the numbers of a terminal's conversations go on; one that never came before has none to lose."""
    stored = work.unit.scalar(select(t.terminals.c.incarnation).where(t.terminals.c.id == greeting.terminal))
    if stored is None and greeting.known is None:
        _keep_incarnation(work, greeting)
        return True
    return (stored, greeting.known) == (greeting.incarnation, own)


def begin_anew(work: WorkingSet, greeting: Greeting, now: Instant) -> None:
    """Forget the numbers of a terminal's conversations, and put out what it may know and is still asked for.

    What waited for it is dropped: the Snapshot carries its effect. Nothing of an older stream may come after this.
    """
    terminal = greeting.terminal
    _keep_incarnation(work, greeting)
    _forget_numbers(work, terminal)
    orders = _orders_to_tell(work, terminal, now)
    parts = {order.id: parts_of(work, order.id) for order in orders}
    grants = _grants(work, {o.provider_id for order in orders for o in order.offers.values()})
    known = (known_to(order.participants[terminal], order, parts[order.id], grants) for order in orders)
    numbers = [_put_out(work, terminal, None, number, page) for number, page in enumerate(pages(known), 1)]
    for order in orders:
        _ask_again(work, order, order.participants[terminal], parts[order.id])
    work.terminals[terminal] = TerminalRow(terminal, 0, b"", len(numbers))
    work.changes.terminals.append(work.terminals[terminal].row())


def account_orders(work: WorkingSet, account: AccountId, after: bytes, now: Instant) -> list[SnapshotOrder]:
    """Give a page of an account's orders, after an order, as any of its terminals may know them."""
    ids = list(islice(_walk(work, lambda last: next_of_account(account, last, now), after), ACCOUNT_PAGE))
    orders = _current(work, ids)
    grants = _grants(work, {o.provider_id for order in orders for o in order.offers.values()})
    return [known_to(order.participants[order.user], order, parts_of(work, order.id), grants) for order in orders]


def parts_of(work: WorkingSet, order_id: OrderId) -> list[StoredPart]:
    """Give an order's signed parts, also those that this batch is about to save."""
    saved = work.unit.parts([order_id]).get(order_id, [])
    rows = work.changes.inserts.get(t.order_parts.name, [])
    new = [StoredPart(row["kind"], row["digest"], row["signed"], row["number"]) for row in rows if row["order_id"] == order_id]
    return sorted([*saved, *new], key=lambda part: (part.kind, part.number))


def _keep_incarnation(work: WorkingSet, greeting: Greeting) -> None:
    kept = update(t.terminals).where(t.terminals.c.id == greeting.terminal).values(incarnation=greeting.incarnation)
    work.unit.execute(kept)


def _forget_numbers(work: WorkingSet, terminal: TerminalId) -> None:
    """Forget all numbers and all that waits, also what this batch has put out.

    A provider tells all of its assets anew, whatever their version; what it does not tell is gone.
    """
    fresh = {"last_in": 0, "last_in_hash": b"", "last_out": 0}
    work.unit.execute(update(t.participants).where(t.participants.c.terminal_id == terminal).values(**fresh))
    work.unit.execute(delete(t.envelopes).where(t.envelopes.c.terminal_id == terminal))
    untold = {"version": 0, "state": int(AssetState.REMOVED)}
    work.unit.execute(update(t.assets).where(t.assets.c.provider_id == terminal).values(**untold))
    waiting = work.changes.inserts.get(t.envelopes.name, [])
    waiting[:] = [row for row in waiting if row["terminal_id"] != terminal]


def _orders_to_tell(work: WorkingSet, terminal: TerminalId, now: Instant) -> list[Order]:
    """Give the orders to tell of, with this terminal's numbers at their beginning; so they are saved, and remembered."""
    stored = set(_walk(work, lambda after: next_to_tell(terminal, after, now), b""))
    changed = {order.id for order in work.orders.values() if terminal in order.participants}
    orders = []
    for order in _current(work, sorted(stored | changed)):
        participant = order.participants[terminal]
        fresh = {**order.participants, terminal: Participant(terminal, participant.side)}
        orders.append(_keep(work, replace(order, participants=fresh)))
    return orders


def _walk(work: WorkingSet, next_of: Callable[[bytes], Select[Any]], after: bytes) -> Iterator[OrderId]:
    while (row := work.unit.row(next_of(after))) is not None:
        after = row.id
        yield OrderId(row.id)


def _current(work: WorkingSet, ids: Sequence[OrderId]) -> list[Order]:
    """Give orders as the messages before left them."""
    loaded = work.unit.orders([order_id for order_id in ids if order_id not in work.orders], {})
    return [work.orders[order_id] if order_id in work.orders else loaded[order_id] for order_id in ids]


def _keep(work: WorkingSet, order: Order) -> Order:
    work.orders[order.id] = work.changes.orders[order.id] = order
    return order


def _grants(work: WorkingSet, providers: set[ProviderId]) -> Grants:
    c = t.terminals.c
    found = {provider: work.unit.scalar(select(c.grant_signed).where(c.id == provider)) for provider in providers}
    return {provider: grant for provider, grant in found.items() if grant is not None}


def _ask_again(work: WorkingSet, order: Order, participant: Participant, parts: Sequence[StoredPart]) -> None:
    """Put out what an order waits for from a terminal, as the first messages of their new conversation."""
    asked = list(asked_of(participant, order, parts, _requester(work, order, parts)))
    for number, message in enumerate(asked, 1):
        _put_out(work, participant.terminal, order.id, number, message)
        if isinstance(message, SettlementRequest) and order.work is not None and order.work.asked is not None:
            waiting = replace(order.work.asked, envelope=Number(number))
            order = replace(order, work=replace(order.work, asked=waiting))
    said = replace(participant, last_out=len(asked))
    _keep(work, replace(order, participants={**order.participants, participant.terminal: said}))


def _requester(work: WorkingSet, order: Order, parts: Sequence[StoredPart]) -> PublicKey:
    """Give the key that signed an order's request to end: the holder's, or that of another terminal of its account."""
    request = next((part.signed for part in parts if part.digest == order.end_request_hash), None)
    hint = take_apart(request).key_id if request else key_id(order.holder_key)
    for terminal in order.users:
        key = work.unit.scalar(select(t.terminals.c.public_key).where(t.terminals.c.id == terminal))
        if key is not None and key_id(key) == hint:
            return PublicKey(key)
    return order.holder_key


def _put_out(work: WorkingSet, terminal: TerminalId, order_id: OrderId | None, number: int, message: Message) -> int:
    raw = encode_envelope(Envelope(order_id, Number(number), message))
    row = {"terminal_id": terminal, "order_id": order_id or b"", "number": number, "body": raw}
    work.changes.insert(t.envelopes, row)
    return number
