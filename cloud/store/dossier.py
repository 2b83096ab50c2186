"""All that is kept of one order, read as of one instant; and the orders of which a part is disputed."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from msgspec import Struct
from sqlalchemy import and_, func, select

from cloud.domain.order import Disputed, Order, Timer
from cloud.store import tables as t
from cloud.store.people import orders_with_names
from cloud.store.readers import Readers
from cloud.store.rows import order_of
from energyshare.bodies import AmendmentAnswerBody, AmendmentBody, ChargeRecordBody
from energyshare.values import Digest, Instant, OrderId, OrderState, PartKind
from energyshare.wire import peek

Read = Callable[[Any], Any]


class OpenDispute(Struct, frozen=True):
    """The disputed part of an order; `row` holds the order's columns and its sides' names."""

    row: Any
    disputed: Disputed
    since: Instant
    timer: Timer | None


class Proposed(Struct, frozen=True):
    """An amendment, and whether the user approved it; None while it waits for an answer."""

    amendment: AmendmentBody
    approved: bool | None


class Dossier(Struct, frozen=True):
    """One order: its row with its sides' names, its value, its history, and its parts opened where people ask for them."""

    row: Any
    order: Order
    timeline: Sequence[Any]
    money: Sequence[Any]
    participants: Sequence[Any]
    amendments: Sequence[Proposed]
    charges: Sequence[tuple[Digest, ChargeRecordBody]]
    evidence: Sequence[tuple[PartKind, int, int]]
    dispute: OpenDispute | None


def dossier(readers: Readers, order_id: OrderId) -> Dossier:
    """Read all that is kept of an order."""
    with readers.snapshot() as read:
        row = read(orders_with_names().where(t.orders.c.id == order_id)).one()
        order = _order(read, row)
        timeline = _timeline(read, order_id)
        p, x = t.order_parts.c, t.transfers.c
        parts = read(select(t.order_parts).where(p.order_id == order_id).order_by(p.kind, p.number)).all()
        return Dossier(
            row,
            order,
            timeline,
            read(select(t.transfers).where(x.order_id == order_id).order_by(x.row)).all(),
            read(_participants(order_id)).all(),
            _amendments(parts),
            _charges(parts),
            _evidence(parts),
            _dispute(row, order, timeline),
        )


def disputes(readers: Readers, most: int) -> list[OpenDispute]:
    """List the orders of which a part is disputed, the nearest to its fixed outcome first."""
    o = t.orders.c
    disputed = orders_with_names().where(o.state == int(OrderState.DISPUTED)).order_by(o.due).limit(most)
    with readers.snapshot() as read:
        rows = read(disputed).all()
        found = [_dispute(row, _order(read, row), _timeline(read, OrderId(row.id))) for row in rows]
    return [dispute for dispute in found if dispute is not None]


def _order(read: Read, row: Any) -> Order:
    participants = read(select(t.participants).where(t.participants.c.order_id == row.id)).all()
    return order_of(row, participants, read(select(t.offers).where(t.offers.c.order_id == row.id)).all())


def _timeline(read: Read, order_id: OrderId) -> Sequence[Any]:
    e = t.order_events.c
    entries: Sequence[Any] = read(select(t.order_events).where(e.order_id == order_id).order_by(e.number)).all()
    return entries


def _participants(order_id: OrderId) -> Any:
    p, c, e = t.participants.c, t.terminals.c, t.envelopes.c
    unread = and_(e.terminal_id == p.terminal_id, e.order_id == p.order_id)
    waiting = select(func.count()).select_from(t.envelopes).where(unread).scalar_subquery().label("waiting")
    named = select(t.participants, c.name, waiting).join_from(t.participants, t.terminals, c.id == p.terminal_id)
    return named.where(p.order_id == order_id).order_by(p.side.desc(), c.name)


def _dispute(row: Any, order: Order, timeline: Sequence[Any]) -> OpenDispute | None:
    if order.dispute is None:
        return None
    disputed = list(takewhile(lambda entry: entry.state == OrderState.DISPUTED, reversed(timeline)))
    since = disputed[-1].at if disputed else order.created
    return OpenDispute(row, order.dispute, Instant(since), order.timer)


def _amendments(parts: Sequence[Any]) -> list[Proposed]:
    bodies = (peek(AmendmentAnswerBody, part.signed) for part in parts if part.kind == PartKind.AMENDMENT_ANSWER)
    answers = {body.amendment_hash: body.approved for body in bodies}
    found = ((part.digest, peek(AmendmentBody, part.signed)) for part in parts if part.kind == PartKind.AMENDMENT)
    return sorted((Proposed(body, answers.get(digest)) for digest, body in found), key=lambda one: one.amendment.number)


def _charges(parts: Sequence[Any]) -> list[tuple[Digest, ChargeRecordBody]]:
    """Open the charge records, each after the one that it corrects."""
    records = ((Digest(p.digest), peek(ChargeRecordBody, p.signed)) for p in parts if p.kind == PartKind.CHARGE_RECORD)
    by_corrected = {body.corrects_hash: (digest, body) for digest, body in records}
    chain: list[tuple[Digest, ChargeRecordBody]] = []
    while (following := by_corrected.get(chain[-1][0] if chain else None)) is not None:
        chain.append(following)
    return chain


def _evidence(parts: Sequence[Any]) -> list[tuple[PartKind, int, int]]:
    counts = Counter(part.kind for part in parts)
    return [(PartKind(kind), n, sum(len(p.signed) for p in parts if p.kind == kind)) for kind, n in sorted(counts.items())]
