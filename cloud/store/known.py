"""Which orders a terminal or an account is told of after something was lost.

Each statement names the next order after one, by id: it walks the orders once and looks participants up by key, since nothing
else than a lost journal ever asks for all orders of a terminal.
"""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select

from cloud.store import tables as t
from energyshare.snapshots import RECENT_S
from energyshare.values import DAY_S, AccountId, Instant, TerminalId, later

CREATED_S = 30 * DAY_S  # as long as terminals keep signed parts

o = t.orders.c


def next_to_tell(terminal: TerminalId, after: bytes, now: Instant) -> Select[Any]:
    """Name a terminal's next order that waits for something, or to which something happened of late."""
    p, e = t.participants.c, t.order_events.c
    is_participant = exists().where(p.order_id == o.id, p.terminal_id == terminal)
    moved = exists().where(e.order_id == o.id, e.at > later(now, -RECENT_S))
    return _next(after).where(or_(o.due.is_not(None), and_(_is_young(now), moved)), is_participant)


def next_of_account(account: AccountId, after: bytes, now: Instant) -> Select[Any]:
    """Name an account's next order that waits for something, or of which terminals may hold signed parts."""
    return _next(after).where(o.account_id == account, or_(o.due.is_not(None), _is_young(now)))


def _next(after: bytes) -> Select[Any]:
    return select(o.id).where(o.id > after).order_by(o.id).limit(1)


def _is_young(now: Instant) -> ColumnElement[bool]:
    return o.created > later(now, -CREATED_S)
