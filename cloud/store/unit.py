"""One batch's transaction: set-wise reads of what it names, set-wise writes of what it changed.

Statements are built once. Each `load` takes all ids of a batch; `save` writes a `Changes` in a fixed order of tables. Locks,
where a database needs them, follow the order orders → assets → accounts, each by id.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Table, bindparam, func, literal_column, select, update

from cloud.domain.checkpoint import START, next_batch
from cloud.domain.ledger import Balance, LedgerAccount
from cloud.domain.order import Order, StoredPart, Wait
from cloud.domain.screening import AssetRecord
from cloud.store import tables
from cloud.store.asset_rows import asset_of
from cloud.store.cells import disk
from cloud.store.ledger_rows import balance_of, balance_row, batch_row
from cloud.store.prepared import DeleteUpTo, Insert, Lookup, Update, Write
from cloud.store.rows import offer_row, order_changes, order_of, order_row, part_of, participant_changes, participant_row
from energyshare.values import (
    AccountId,
    AssetId,
    AssetState,
    Digest,
    Incarnation,
    Instant,
    Kind,
    Metres,
    OrderId,
    OrderState,
    Place,
    TerminalId,
)

OPEN_STATES: list[Any] = [
    literal_column(str(int(s)))
    for s in (OrderState.DEMANDED, OrderState.SELECTED, OrderState.AUTHORIZED, OrderState.ACTIVE, OrderState.ENDING)
]
Rows = list[dict[str, Any]]


def _by_ids(table: Table, column: str, *order_by: str) -> Lookup:
    return Lookup(select(table).order_by(*(table.c[name] for name in order_by)), table.c[column])


_ORDERS = _by_ids(tables.orders, "id")
_PARTICIPANTS = _by_ids(tables.participants, "order_id", "order_id")
_OFFERS = _by_ids(tables.offers, "order_id", "order_id")
_PARTS = _by_ids(tables.order_parts, "order_id", "order_id", "kind", "number")
_ASSETS = _by_ids(tables.assets, "id")
_BALANCES = _by_ids(tables.balances, "account")
_TERMINALS = _by_ids(tables.terminals, "id")
_TARIFFS = _by_ids(tables.tariffs, "hash")
_OPEN_ORDERS = Lookup(
    select(tables.orders.c.account_id, func.count())
    .where(tables.orders.c.state.in_(OPEN_STATES))
    .group_by(tables.orders.c.account_id),
    tables.orders.c.account_id,
)
_STILL_THERE = tables.assets.c.state != literal_column(str(int(AssetState.REMOVED)))
_NEARBY = {
    resolution: Lookup(select(tables.assets).where(_STILL_THERE), tables.assets.c[f"cell_{resolution}"])
    for resolution in (3, 5, 7)
}
_DUE = (
    select(tables.orders.c.id, tables.orders.c.wait, tables.orders.c.due)
    .where(tables.orders.c.due <= bindparam("now"))
    .order_by(tables.orders.c.due)
    .limit(bindparam("most"))
)

_HEAD = Lookup(
    select(tables.ledger_batches.c.number, tables.ledger_batches.c.hash)
    .order_by(tables.ledger_batches.c.number.desc())
    .limit(literal_column("1"))
    .offset(literal_column("0")),
    tables.ledger_batches.c.chain_id,
)
_LAST_ROW = "SELECT coalesce(max(row), 0) FROM transfers"

_UPDATE_ORDERS = Update(tables.orders, key="id")
_UPDATE_PARTICIPANTS = Update(tables.participants, key="order_id", key_terminal="terminal_id")
_UPDATE_OFFERS = Update(tables.offers, key="order_id", key_digest="digest")
_UPDATE_ASSETS = Update(tables.assets, key="id")
_UPDATE_BALANCES = Update(tables.balances, key="account")
_UPDATE_TERMINALS = Update(tables.terminals, key="id")
_UPDATE_TOKENS = Update(tables.join_tokens, key="hash")
_DELETE_ENVELOPES = DeleteUpTo(tables.envelopes, "number", key_terminal="terminal_id", key="order_id")
_TRANSFERS, _RECORDS = tables.transfers.name, tables.charge_records.name
_INSERTS = {table.name: Insert(table) for table in tables.metadata.sorted_tables}


@dataclass(slots=True)
class Changes:
    """What a batch changed; rows are appended while it is decided and written at its end.

    Rows of updates hold the columns to set, and `key` (with `key_…`) for the row that they are for.
    """

    orders: dict[OrderId, Order] = field(default_factory=dict)
    balances: dict[LedgerAccount, Balance] = field(default_factory=dict)
    inserts: dict[str, Rows] = field(default_factory=dict)
    assets: Rows = field(default_factory=list)
    asset_holds: Rows = field(default_factory=list)
    asset_suspensions: Rows = field(default_factory=list)
    terminals: Rows = field(default_factory=list)
    tokens: Rows = field(default_factory=list)
    acknowledged: Rows = field(default_factory=list)

    def insert(self, table: Table, row: dict[str, Any]) -> None:
        """Add a row to a table."""
        self.inserts.setdefault(table.name, []).append(row)


class TerminalRow(Struct, frozen=True):
    """How far the conversation with a terminal itself has come."""

    terminal: TerminalId
    last_in: int
    last_in_hash: bytes
    last_out: int

    def received(self, number: int, envelope_hash: bytes, answers: int) -> "TerminalRow":
        """Count a message in, and its answers out."""
        return TerminalRow(self.terminal, number, envelope_hash, self.last_out + answers)

    def row(self) -> dict[str, Any]:
        """Give the columns that change, and the key."""
        return {
            "key": self.terminal,
            "last_in": self.last_in,
            "last_in_hash": self.last_in_hash,
            "last_out": self.last_out,
        }


class Unit:
    """The reads and writes of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loaded_orders: dict[OrderId, Order] = {}
        self._loaded_balances: set[LedgerAccount] = set()

    def orders(self, ids: Collection[OrderId], recent: Mapping[OrderId, Order]) -> dict[OrderId, Order]:
        """Give orders with their participants and offers, loading those that `recent` lacks; unknown ids are left out."""
        known = {order_id: recent[order_id] for order_id in ids if order_id in recent}
        self._loaded_orders.update(known)
        return known | self._load_orders([order_id for order_id in ids if order_id not in known])

    def _load_orders(self, ids: Collection[OrderId]) -> dict[OrderId, Order]:
        rows = _ORDERS.run(self._connection, ids) if ids else ()
        if not rows:
            return {}
        participants = _grouped(_PARTICIPANTS.run(self._connection, ids))
        offers = _grouped(_OFFERS.run(self._connection, ids))
        found = {OrderId(r.id): order_of(r, participants.get(r.id, ()), offers.get(r.id, ())) for r in rows}
        self._loaded_orders.update(found)
        return found

    def parts(self, ids: Collection[OrderId]) -> dict[bytes, list[StoredPart]]:
        """Load the signed parts of orders, by kind and number."""
        if not ids:
            return {}
        grouped = _grouped(_PARTS.run(self._connection, ids))
        return {order_id: [part_of(row) for row in rows] for order_id, rows in grouped.items()}

    def assets(self, ids: Collection[AssetId]) -> dict[AssetId, AssetRecord]:
        """Load assets by id."""
        rows = _ASSETS.run(self._connection, ids) if ids else ()
        return {AssetId(row.id): asset_of(row) for row in rows}

    def nearby(self, wanted: Mapping[OrderId, tuple[Place, Metres]]) -> dict[OrderId, tuple[AssetRecord, ...]]:
        """Load the assets in the cells that cover what lies within a distance of each place, a query a resolution."""
        disks = {order_id: disk(place, reach) for order_id, (place, reach) in wanted.items()}
        found: dict[int, dict[int, list[AssetRecord]]] = {}
        for resolution in {resolution for resolution, _ in disks.values()}:
            cells = {cell for r, cells in disks.values() if r == resolution for cell in cells}
            by_cell = found.setdefault(resolution, {})
            for row in _NEARBY[resolution].run(self._connection, cells):
                by_cell.setdefault(getattr(row, f"cell_{resolution}"), []).append(asset_of(row))
        return {
            order_id: tuple(asset for cell in cells for asset in found[resolution].get(cell, ()))
            for order_id, (resolution, cells) in disks.items()
        }

    def tariffs(self, hashes: Collection[Digest]) -> dict[Digest, bytes]:
        """Load tariffs by hash."""
        rows = _TARIFFS.run(self._connection, hashes) if hashes else ()
        return {Digest(row.hash): row.body for row in rows}

    def open_orders(self, accounts: Collection[AccountId]) -> dict[bytes, int]:
        """Count the open orders of accounts."""
        rows = _OPEN_ORDERS.run(self._connection, accounts) if accounts else ()
        return {row[0]: row[1] for row in rows}

    def balances(self, accounts: Collection[LedgerAccount]) -> dict[LedgerAccount, Balance]:
        """Load balances; accounts that never moved are left out."""
        rows = _BALANCES.run(self._connection, accounts) if accounts else ()
        found = {LedgerAccount(row.account): balance_of(row) for row in rows}
        self._loaded_balances.update(found)
        return found

    def terminals(self, ids: Collection[TerminalId]) -> dict[TerminalId, TerminalRow]:
        """Load how far the conversations with terminals themselves have come."""
        rows = _TERMINALS.run(self._connection, ids) if ids else ()
        return {TerminalId(row.id): TerminalRow(row.id, row.last_in, row.last_in_hash, row.last_out) for row in rows}

    def due(self, now: Instant, most: int) -> Sequence[Any]:
        """Name the orders whose wait has run out, longest first."""
        return self._connection.execute(_DUE, {"now": now, "most": most}).all()

    def suspended_accounts(self) -> frozenset[bytes]:
        """Name the accounts that the operator has suspended."""
        a = tables.accounts.c
        return frozenset(row.id for row in self._connection.execute(select(a.id).where(a.suspended)))

    def commissions(self) -> dict[tuple[bytes, Kind], int]:
        """Give the commissions that differ from the cloud's, in basis points by provider and kind."""
        rows = self._connection.execute(select(tables.commissions))
        return {(row.account_id, Kind(row.kind)): row.commission_bp for row in rows}

    def waiting_for(self, wait: Wait) -> set[OrderId]:
        """Name the orders that wait for something."""
        o = tables.orders.c
        return {OrderId(row.id) for row in self._connection.execute(select(o.id).where(o.wait == wait.value))}

    def postpone(self, order_id: OrderId, due: Instant) -> None:
        """Have an order's wait run out later."""
        self._connection.execute(update(tables.orders).where(tables.orders.c.id == order_id).values(due=due))

    def scalar(self, statement: Any) -> Any:
        """Run a read for one value."""
        return self._connection.execute(statement).scalar()

    def row(self, statement: Any) -> Any:
        """Run a read for one row."""
        return self._connection.execute(statement).first()

    def rows(self, statement: Any) -> Sequence[Any]:
        """Run a read for rows."""
        return self._connection.execute(statement).all()

    def execute(self, statement: Any) -> None:
        """Run a write of a command at once, in the batch's transaction."""
        self._connection.execute(statement)

    def save(self, changes: Changes, chain: Incarnation) -> None:
        """Write everything that a batch changed, and what links its rows of the ledger to their chain."""
        self._save_orders(changes)
        self._save_balances(changes)
        for name, rows in changes.inserts.items():
            self._run(_INSERTS[name], rows)
        self._run(_UPDATE_ASSETS, changes.assets)
        self._run(_UPDATE_ASSETS, changes.asset_holds)
        self._run(_UPDATE_ASSETS, changes.asset_suspensions)
        self._run(_UPDATE_TERMINALS, changes.terminals)
        self._run(_UPDATE_TOKENS, changes.tokens)
        self._run(_DELETE_ENVELOPES, changes.acknowledged)
        self._link(chain, changes.inserts.get(_TRANSFERS, ()), changes.inserts.get(_RECORDS, ()))

    def _link(self, chain: Incarnation, transfers: Sequence[dict[str, Any]], records: Sequence[dict[str, Any]]) -> None:
        """Add the batch of the ledger's rows that were just written; a commit without such adds none."""
        if not (transfers or records):
            return
        head = _HEAD.run(self._connection, [chain])
        before = (head[0].number, Digest(head[0].hash)) if head else (0, START)
        cursor = self._connection.connection.cursor()
        cursor.execute(_LAST_ROW)
        (last_row,) = cursor.fetchone() or (0,)
        self._run(_INSERTS[tables.ledger_batches.name], [batch_row(next_batch(chain, before, last_row, transfers, records))])

    def _save_orders(self, changes: Changes) -> None:
        known: Rows = []
        participants: Rows = []
        offers: Rows = []
        for order_id, order in sorted(changes.orders.items()):
            before = self._loaded_orders.get(order_id)
            if before is None:
                changes.insert(tables.orders, order_row(order))
            else:
                known.append(order_changes(order) | {"key": order_id})
            participants += _save_participants(before, order, changes)
            offers += _save_offers(before, order, changes)
        self._run(_UPDATE_ORDERS, known)
        self._run(_UPDATE_PARTICIPANTS, participants)
        self._run(_UPDATE_OFFERS, offers)

    def _save_balances(self, changes: Changes) -> None:
        known: Rows = []
        for account, balance in sorted(changes.balances.items()):
            if account in self._loaded_balances:
                known.append(balance_row(balance) | {"key": account})
            else:
                changes.insert(tables.balances, balance_row(balance))
        self._run(_UPDATE_BALANCES, known)

    def _run(self, write: Write, rows: Sequence[dict[str, Any]]) -> None:
        if rows:
            write.run(self._connection, rows)


def _save_participants(before: Order | None, after: Order, changes: Changes) -> Rows:
    """Insert new participants; give the updates of those that changed."""
    updates: Rows = []
    for terminal, participant in after.participants.items():
        known = before.participants.get(terminal) if before else None
        if known is None:
            changes.insert(tables.participants, participant_row(after, participant))
        elif known is not participant:
            updates.append(participant_changes(participant) | {"key": after.id, "key_terminal": terminal})
    return updates


def _save_offers(before: Order | None, after: Order, changes: Changes) -> Rows:
    """Insert new offers; give the updates of those that were withdrawn."""
    updates: Rows = []
    for digest, offer in after.offers.items():
        known = before.offers.get(digest) if before else None
        if known is None:
            changes.insert(tables.offers, offer_row(after, offer))
        elif known.withdrawn is not offer.withdrawn:
            updates.append({"withdrawn": offer.withdrawn, "key": after.id, "key_digest": digest})
    return updates


def _grouped(rows: Iterable[Any]) -> dict[bytes, list[Any]]:
    return {order_id: list(group) for order_id, group in groupby(rows, key=lambda row: row.order_id)}
