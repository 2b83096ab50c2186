"""Reads outside of batches, on read-only connections: what gateways look up and what people ask for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from msgspec import Struct
from sqlalchemy import Engine, and_, func, select

from cloud.domain.inbound import OrderKeys
from cloud.store import tables as t
from energyshare.errors import Reason, Rejected
from energyshare.values import OrderId, OrderState, PublicKey, TerminalId, id_text

OUTBOX_PAGE = 500


class WaitingEnvelope(Struct, frozen=True):
    """An envelope that its terminal has not acknowledged."""

    order_id: OrderId | None
    number: int
    raw: bytes


class Readers:
    """Read-only access; each call opens its own connection."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.keys_of = lru_cache(maxsize=20_000)(self._keys_of_settled_choice)

    def rows(self, statement: Any) -> Sequence[Any]:
        """Run a read."""
        with self._engine.connect() as connection:
            return connection.execute(statement).all()

    def scalar(self, statement: Any) -> Any:
        """Run a read for one value."""
        with self._engine.connect() as connection:
            return connection.execute(statement).scalar()

    @contextmanager
    def snapshot(self) -> Iterator[Callable[[Any], Any]]:
        """Read several things as of one instant."""
        with self._engine.connect() as connection, connection.begin():
            yield lambda statement: connection.execute(statement)

    def terminal(self, terminal: TerminalId) -> Any | None:
        """Give a terminal's row."""
        return next(iter(self.rows(select(t.terminals).where(t.terminals.c.id == terminal))), None)

    def outbox(self, terminal: TerminalId, after: tuple[bytes, int]) -> list[WaitingEnvelope]:
        """Give a page of what a terminal has not acknowledged, after an order and number."""
        order_id, number = after
        e = t.envelopes.c
        later = (e.order_id > order_id) | and_(e.order_id == order_id, e.number > number)
        found = self.rows(
            select(e.order_id, e.number, e.body)
            .where(e.terminal_id == terminal, later)
            .order_by(e.order_id, e.number)
            .limit(OUTBOX_PAGE)
        )
        return [WaitingEnvelope(OrderId(r.order_id) if r.order_id else None, r.number, r.body) for r in found]

    def order_id(self, text: str) -> OrderId:
        """Find an order by its id or by an end of it that is unique.

        Raises: Rejected{UNKNOWN_ORDER}.
        """
        digits = text.replace("-", "").lower()
        if len(digits) < 4 or not all(c in "0123456789abcdef" for c in digits):
            raise Rejected(Reason.UNKNOWN_ORDER, order=text)
        found = self.rows(select(t.orders.c.id).where(func.lower(func.hex(t.orders.c.id)).like(f"%{digits}")).limit(2))
        if len(found) != 1:
            raise Rejected(Reason.UNKNOWN_ORDER, order=text, matches=str(len(found)))
        return OrderId(found[0].id)

    def _keys_of_settled_choice(self, order_id: OrderId) -> OrderKeys | None:
        """Give an order's keys; raises LookupError, so that nothing is kept, while its provider may still change."""
        o, f = t.orders.c, t.offers.c
        found = self.rows(
            select(o.holder_key, o.state, f.issuer_key)
            .join_from(t.orders, t.offers, and_(f.order_id == o.id, f.digest == o.selected), isouter=True)
            .where(o.id == order_id)
        )
        if not found:
            raise LookupError(id_text(order_id))
        row = found[0]
        keys = OrderKeys(PublicKey(row.holder_key), row.issuer_key)
        if row.state in (OrderState.DEMANDED, OrderState.SELECTED):
            raise LookupError(id_text(order_id), keys)
        return keys

    def order_keys(self, order_id: OrderId) -> OrderKeys | None:
        """Give the keys of an order's two sides; None when there is no such order."""
        try:
            return self.keys_of(order_id)
        except LookupError as unsettled:
            return unsettled.args[1] if len(unsettled.args) > 1 else None
