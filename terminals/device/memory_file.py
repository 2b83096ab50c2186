"""The device's memory on disk: SQLite, WAL, synchronous=FULL; one commit for each decision.

The whole memory is one checksummed row, so that it is always that of one decision. Evidence lies beside it as signed bytes
and is kept for 90 days after a session's end or a voucher's burning. A file that is missing, damaged or of another epoch is
never mended here: it raises Corrupt, and only a reset, which changes the epoch, goes on. ADR-0003.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

from energyshare.bodies import EndReceiptBody, ReadingBody, SerialClosedBody, StartReceiptBody
from energyshare.errors import Corrupt, Unavailable
from energyshare.values import DAY_S, Epoch, Instant, Number, OrderId, PublicKey, Serial
from terminals.device.core import Evidence
from terminals.device.memory import Ended, Memory
from terminals.device.settings import RESET_HINT

KEPT_US = 90 * DAY_S * 1_000_000
PAGE_MAX = 100  # sessions, and statements of burned vouchers
PAGE_BYTES_MAX = 3_000_000  # under gRPC's default limit of 4 MiB; the first session always goes

SCHEMA = """
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE memory (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL, checksum BLOB NOT NULL) STRICT;
CREATE TABLE session (
    number INTEGER PRIMARY KEY, last_number INTEGER NOT NULL, order_id BLOB NOT NULL, holder_key BLOB NOT NULL,
    start_receipt BLOB NOT NULL, end_receipt BLOB, ended_us INTEGER
) STRICT;
CREATE INDEX session_order ON session (order_id);
CREATE INDEX session_last ON session (last_number);
CREATE TABLE reading (
    session INTEGER NOT NULL REFERENCES session (number) ON DELETE CASCADE, number INTEGER NOT NULL, signed BLOB NOT NULL,
    PRIMARY KEY (session, number)
) STRICT, WITHOUT ROWID;
COMMIT;
"""
CLOSED_SCHEMA = """
CREATE TABLE IF NOT EXISTS closed (
    number INTEGER PRIMARY KEY, order_id BLOB NOT NULL, serial INTEGER NOT NULL, statement BLOB NOT NULL,
    closed_us INTEGER NOT NULL, UNIQUE (order_id, serial)
) STRICT
"""  # apart: a memory made before vouchers could be burned gets it when it is opened
PUT_MEMORY = (
    "INSERT INTO memory VALUES (1, ?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body, checksum = excluded.checksum"
)
LAST_END = "SELECT holder_key, end_receipt FROM session WHERE order_id = ? AND end_receipt IS NOT NULL ORDER BY number DESC"
PAGE = (
    "SELECT number, order_id, start_receipt, end_receipt FROM session"
    " WHERE last_number > ? AND order_id = coalesce(?, order_id) ORDER BY last_number LIMIT ?"
)
CLOSED = "SELECT statement FROM closed WHERE order_id = ? AND serial = ?"
CLOSED_PAGE = "SELECT statement FROM closed WHERE number > ? AND order_id = coalesce(?, order_id) ORDER BY number LIMIT ?"


class SessionEvidence(Struct, frozen=True):
    """What a device signed about one session; `end_receipt` is None while it is open."""

    order_id: OrderId
    start_receipt: bytes
    readings: tuple[bytes, ...]
    end_receipt: bytes | None


class MemoryFile:
    """The open memory of one device; `memory` is what was last saved."""

    def __init__(self, connection: sqlite3.Connection, memory: Memory) -> None:
        self._connection = connection
        self.memory = memory

    @classmethod
    def create(cls, path: Path, memory: Memory) -> "MemoryFile":
        """Make the file of a new memory; raises FileExistsError when there is one."""
        path.touch(mode=0o600, exist_ok=False)
        connection = _connect(path)
        connection.executescript(f"{SCHEMA}{CLOSED_SCHEMA}")
        file = cls(connection, memory)
        file.save(memory)
        return file

    @classmethod
    def open(cls, path: Path, epoch: Epoch) -> "MemoryFile":
        """Open the memory of an epoch.

        Raises: Corrupt when it is missing, damaged or of another; Unavailable when the disk takes nothing.
        """
        _require_there(path)
        connection = _connect(path)
        try:
            memory = _checked(connection, path, epoch)
            connection.execute(CLOSED_SCHEMA)
        except Corrupt:
            connection.close()
            raise
        except sqlite3.Error as error:
            connection.close()
            raise _unwritten(error) from None
        return cls(connection, memory)

    def save(self, memory: Memory, evidence: Iterable[Evidence] = ()) -> None:
        """Commit a decision: when this returns, a power cut can't undo it.

        Raises: Unavailable when the disk does not take it; then nothing of it is kept.
        """
        try:
            with _transaction(self._connection):
                self._connection.execute(PUT_MEMORY, _row(memory))
                for signed in evidence:
                    self._keep(signed, memory)
        except sqlite3.Error as error:
            raise _unwritten(error) from None
        self.memory = memory

    def ended(self, order_id: OrderId) -> Ended | None:
        """Give the last session of an order that is over."""
        row = self._connection.execute(LAST_END, (order_id,)).fetchone()
        return row and Ended(PublicKey(row[0]), row[1])

    def evidence(self, order_id: OrderId | None, after: Number) -> tuple[SessionEvidence, ...]:
        """List sessions whose last receipt's number is above `after`, oldest first; a page."""
        sessions: list[SessionEvidence] = []
        size = 0
        for number, order, start, end in self._connection.execute(PAGE, (after, order_id, PAGE_MAX)).fetchall():
            readings = self._readings(number)
            size += len(start) + len(end or b"") + sum(map(len, readings))
            if sessions and size > PAGE_BYTES_MAX:
                break
            sessions.append(SessionEvidence(OrderId(order), start, readings, end))
        return tuple(sessions)

    def closed(self, order_id: OrderId, serial: Serial) -> bytes | None:
        """Give the statement that an order's voucher was burned."""
        row = self._connection.execute(CLOSED, (order_id, serial)).fetchone()
        return row and bytes(row[0])

    def closed_serials(self, order_id: OrderId | None, after: Number) -> tuple[bytes, ...]:
        """List statements of burned vouchers with numbers above `after`, oldest first; a page."""
        return tuple(row[0] for row in self._connection.execute(CLOSED_PAGE, (after, order_id, PAGE_MAX)))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _keep(self, evidence: Evidence, memory: Memory) -> None:
        body, signed = evidence.body, evidence.signed
        if isinstance(body, StartReceiptBody):
            assert memory.session is not None
            holder_key = memory.session.voucher.holder_key
            row = (body.receipt_number, body.receipt_number, body.order_id, holder_key, signed)
            self._connection.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, NULL, NULL)", row)
        elif isinstance(body, ReadingBody):
            insert = "INSERT INTO reading SELECT max(number), ?, ? FROM session"
            self._connection.execute(insert, (body.number, signed))
        elif isinstance(body, SerialClosedBody):
            self._keep_closed(body, signed)
        else:
            self._keep_end(body, signed)

    def _keep_closed(self, body: SerialClosedBody, signed: bytes) -> None:
        row = (body.receipt_number, body.order_id, body.serial, signed, body.closed_time)
        self._connection.execute("INSERT INTO closed VALUES (?, ?, ?, ?, ?)", row)
        self._forget(body.closed_time)

    def _keep_end(self, body: EndReceiptBody, signed: bytes) -> None:
        update = (
            "UPDATE session SET last_number = ?, end_receipt = ?, ended_us = ? WHERE number = (SELECT max(number) FROM session)"
        )
        self._connection.execute(update, (body.receipt_number, signed, body.end_time))
        self._forget(body.end_time)

    def _forget(self, now: Instant) -> None:
        self._connection.execute("DELETE FROM session WHERE ended_us < ?", (now - KEPT_US,))
        self._connection.execute("DELETE FROM closed WHERE closed_us < ?", (now - KEPT_US,))

    def _readings(self, session: int) -> tuple[bytes, ...]:
        rows = self._connection.execute("SELECT signed FROM reading WHERE session = ? ORDER BY number", (session,))
        return tuple(row[0] for row in rows)


def look_at(path: Path, epoch: Epoch) -> Memory:
    """Read a memory without writing, also while a device runs on it; raises Corrupt."""
    _require_there(path)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return _checked(connection, path, epoch)


def set_aside(path: Path, epoch: Epoch) -> None:
    """Rename a memory that a reset replaces; its evidence stays for its owner to look at."""
    for suffix in ("", "-wal", "-shm"):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.replace(path.with_name(f"{path.stem}-epoch-{epoch}.db{suffix}"))


class _transaction:  # noqa: N801 - reads as a statement
    """BEGIN IMMEDIATE, then COMMIT, or ROLLBACK also when it is the COMMIT that fails."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=2)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise Corrupt(f"{path} is damaged: {error}", RESET_HINT) from None
    return connection


def _unwritten(error: sqlite3.Error) -> Unavailable:
    return Unavailable(f"the device can't write its memory: {error}", "look at its disk")


def _require_there(path: Path) -> None:
    if not path.exists():
        raise Corrupt(f"the device's memory {path} is missing", RESET_HINT)


def _row(memory: Memory) -> tuple[bytes, bytes]:
    body = msgspec.msgpack.encode(memory)
    return body, sha256(body).digest()


def _checked(connection: sqlite3.Connection, path: Path, epoch: Epoch) -> Memory:
    try:
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        body, checksum = connection.execute("SELECT body, checksum FROM memory").fetchone() or (b"", b"")
        if problem != "ok" or sha256(body).digest() != checksum:
            raise Corrupt(f"{path} is damaged", RESET_HINT)
        memory = msgspec.msgpack.decode(body, type=Memory)
    except (sqlite3.DatabaseError, msgspec.ValidationError, msgspec.DecodeError) as error:
        raise Corrupt(f"{path} is damaged: {error}", RESET_HINT) from None
    if memory.epoch != epoch:
        raise Corrupt(f"{path} is of epoch {memory.epoch}, and the device of {epoch}", RESET_HINT)
    return memory
