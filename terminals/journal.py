"""A terminal's journal: what it said, heard and signed, durable before anyone is told.

SQLite by the standard library, WAL, synchronous=FULL. One transaction holds a received message, its effect and the answers to
it. Signed parts are kept 30 days after an order has ended. A journal's incarnation is a random number made with it, by which
the cloud knows whether numbers go on.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from energyshare.errors import Corrupt
from energyshare.values import Digest, Incarnation, OrderId, PartKind
from terminals.link import Conversation, Head, Waiting

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS conversations (
    order_id BLOB PRIMARY KEY, last_in INTEGER NOT NULL, last_in_hash BLOB NOT NULL, last_out INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
    order_id BLOB NOT NULL, number INTEGER NOT NULL, raw BLOB NOT NULL, PRIMARY KEY (order_id, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
    order_id BLOB NOT NULL, kind INTEGER NOT NULL, digest BLOB NOT NULL, number INTEGER NOT NULL, signed BLOB NOT NULL,
    PRIMARY KEY (order_id, kind, digest)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL, key BLOB NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID;
"""
PARTS_KEPT_S = 30 * 86_400


class KeptPart(Struct, frozen=True):
    """A signed part of an order; `number` tells readings apart."""

    kind: PartKind
    digest: Digest
    number: int
    signed: bytes


class Journal:
    """A terminal's durable state; also the store of its link."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        if read_only and not path.exists():
            path = Path(":memory:")
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA busy_timeout=2000")
            if not read_only or str(path) == ":memory:":
                self._db.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            raise Corrupt(f"{path}: {error}", "restore the home from a backup, or enroll anew in another home") from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what happens inside durable as one, or not at all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Undo what happened inside, and only that, when it raises; within a transaction."""
        self._db.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK TO attempt")
            self._db.execute("RELEASE attempt")
            raise
        self._db.execute("RELEASE attempt")

    def incarnation(self) -> Incarnation:
        """Give the journal's own random number, making it on first use."""
        stored = self.meta("incarnation")
        if stored is None:
            stored = os.urandom(16)
            self.set_meta("incarnation", stored)
        return Incarnation(stored)

    def meta(self, key: str) -> bytes | None:
        """Read a setting."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def set_meta(self, key: str, value: bytes) -> None:
        """Store a setting."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # The link's store

    def head(self, conversation: Conversation) -> Head:
        """Say how far a conversation has come."""
        row = self._db.execute(
            "SELECT last_in, last_in_hash, last_out FROM conversations WHERE order_id = ?", (conversation or b"",)
        ).fetchone()
        return Head(*row) if row else Head()

    def received(self, conversation: Conversation, number: int, envelope_hash: bytes) -> None:
        """Count an envelope in."""
        self._db.execute(
            "INSERT INTO conversations VALUES (?, ?, ?, 0) ON CONFLICT (order_id)"
            " DO UPDATE SET last_in = excluded.last_in, last_in_hash = excluded.last_in_hash",
            (conversation or b"", number, envelope_hash),
        )

    def append(self, conversation: Conversation, number: int, raw: bytes) -> None:
        """Keep an envelope until it is acknowledged."""
        self._db.execute(
            "INSERT INTO conversations VALUES (?, 0, x'', ?) ON CONFLICT (order_id) DO UPDATE SET last_out = excluded.last_out",
            (conversation or b"", number),
        )
        self._db.execute("INSERT INTO outbox VALUES (?, ?, ?)", (conversation or b"", number, raw))

    def acknowledged(self, conversation: Conversation, number: int) -> None:
        """Forget the envelopes of a conversation up to a number."""
        self._db.execute("DELETE FROM outbox WHERE order_id = ? AND number <= ?", (conversation or b"", number))

    def waiting(self) -> Sequence[Waiting]:
        """List what is not acknowledged, each conversation in its order."""
        rows = self._db.execute("SELECT order_id, number, raw FROM outbox ORDER BY order_id, number")
        return [Waiting(OrderId(order_id) if order_id else None, number, raw) for order_id, number, raw in rows]

    def forget(self, conversation: Conversation) -> None:
        """Forget the numbers of a conversation of which nothing waits."""
        self._db.execute(
            "DELETE FROM conversations WHERE order_id = ?1 AND NOT EXISTS (SELECT 1 FROM outbox WHERE order_id = ?1)",
            (conversation or b"",),
        )

    def begin_anew(self) -> None:
        """Forget all numbers and all envelopes."""
        self._db.execute("DELETE FROM conversations")
        self._db.execute("DELETE FROM outbox")

    # Signed parts

    def add_part(self, order_id: OrderId, kind: PartKind, digest: Digest, signed: bytes, number: int = 0) -> None:
        """Keep a signed part; one that is there already stays."""
        self._db.execute("INSERT OR IGNORE INTO parts VALUES (?, ?, ?, ?, ?)", (order_id, int(kind), digest, number, signed))

    def parts(self, order_id: OrderId, kind: PartKind | None = None) -> list[KeptPart]:
        """Give an order's signed parts, by kind and number."""
        rows = self._db.execute(
            "SELECT kind, digest, number, signed FROM parts WHERE order_id = ? AND (? IS NULL OR kind = ?)"
            " ORDER BY kind, number",
            (order_id, kind, kind),
        )
        return [KeptPart(PartKind(k), Digest(digest), number, signed) for k, digest, number, signed in rows]

    def part(self, order_id: OrderId, kind: PartKind) -> KeptPart | None:
        """Give an order's latest signed part of a kind."""
        return next(reversed(self.parts(order_id, kind)), None)

    def drop_parts(self, order_id: OrderId) -> None:
        """Forget an order's signed parts."""
        self._db.execute("DELETE FROM parts WHERE order_id = ?", (order_id,))

    # Documents: what a program knows of an order, a device, an asset

    def document(self, kind: str, key: bytes) -> bytes | None:
        """Read a document."""
        row = self._db.execute("SELECT body FROM documents WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return None if row is None else bytes(row[0])

    def documents(self, kind: str) -> list[tuple[bytes, bytes]]:
        """List the documents of a kind by key."""
        return [
            (bytes(key), bytes(body))
            for key, body in self._db.execute("SELECT key, body FROM documents WHERE kind = ? ORDER BY key", (kind,))
        ]

    def drop_document(self, kind: str, key: bytes) -> None:
        """Forget a document."""
        self._db.execute("DELETE FROM documents WHERE kind = ? AND key = ?", (kind, key))

    def put_document(self, kind: str, key: bytes, body: bytes) -> None:
        """Store a document."""
        self._db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (kind, key, body))
