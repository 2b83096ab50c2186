"""A gateway for trying things out: no money moves, every payment succeeds at once.

It keeps its own record in a file beside the cloud's database, as a real gateway does elsewhere, so that the two can be
compared. The file is made by `init --sandbox` and never later: a cloud of real people can't be turned into a sandbox by its
settings.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from cloud.domain.funds import Outcome, Payment, PaymentId
from cloud.payments.gateway import Receipt
from energyshare.errors import Corrupt
from energyshare.values import Instant, Minor

FILE = "sandbox.db"
BUSY_S = 10.0
TABLE = "CREATE TABLE payments (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, amount_minor INTEGER, at INTEGER)"
TAKE = "INSERT INTO payments (id, amount_minor, at) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING"
COLUMNS = "SELECT id, number, amount_minor FROM payments"


class Sandbox:
    """The sandbox of a cloud's home."""

    name = "sandbox"

    def __init__(self, home: Path) -> None:
        self._path = home / FILE

    @classmethod
    def create(cls, home: Path) -> "Sandbox":
        """Make a home's sandbox."""
        with closing(sqlite3.connect(home / FILE)) as database, database:
            database.execute(TABLE)
        return cls(home)

    def start(self, payment: Payment) -> Receipt:
        """Let a payment succeed."""
        with closing(self._open()) as database, database:
            database.execute(TAKE, (payment.id, payment.amount_minor, payment.at))
        return self.look(payment)

    def look(self, payment: Payment) -> Receipt:
        """Say what is known of a payment."""
        with closing(self._open()) as database:
            row = database.execute(f"{COLUMNS} WHERE id = ?", (payment.id,)).fetchone()
        if row is None:
            raise Corrupt(f"the sandbox does not know the payment {payment.id}")
        return _receipt(row)

    def taken_back(self, gateway_id: str) -> Receipt:
        """Fail: nobody takes anything back here."""
        raise Corrupt(f"the sandbox does not know {gateway_id}")

    def since(self, start: Instant) -> Iterator[Receipt]:
        """List what was paid since."""
        with closing(self._open()) as database:
            rows = database.execute(f"{COLUMNS} WHERE at >= ? ORDER BY number", (start,)).fetchall()
        yield from map(_receipt, rows)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self._path}?mode=rw", uri=True, timeout=BUSY_S)


def _receipt(row: tuple[Any, ...]) -> Receipt:
    name, number, amount = row
    return Receipt(PaymentId(name), f"sandbox-{number}", Outcome.SUCCEEDED, Minor(amount))
