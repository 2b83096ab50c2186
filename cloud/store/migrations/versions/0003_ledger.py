"""The chain over the ledger's rows, which begins with those that there are, and commissions by provider and kind."""

import os
from typing import Any

import sqlalchemy as sa
from alembic import op

from cloud.domain.checkpoint import RECORD_COLUMNS, START, TRANSFER_COLUMNS, next_batch
from cloud.store.ledger_rows import batch_row
from energyshare.values import Incarnation

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add tables, and the first batch of rows that were written before."""
    op.create_table(
        "ledger_batches",
        sa.Column("chain_id", sa.LargeBinary(16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("previous", sa.LargeBinary(32), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("first_row", sa.BigInteger(), nullable=False),
        sa.Column("last_row", sa.BigInteger(), nullable=False),
        sa.Column("marks", sa.LargeBinary(), nullable=False),
        sa.Column("records", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "commissions",
        sa.Column("account_id", sa.LargeBinary(16), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("commission_bp", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "kind"),
    )
    _begin_chain(op.get_bind())


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("commissions")
    op.drop_table("ledger_batches")


def _begin_chain(connection: sa.Connection) -> None:
    transfers = _rows(connection, "transfers", TRANSFER_COLUMNS, "row")
    records = _rows(connection, "charge_records", RECORD_COLUMNS, "digest")
    if not (transfers or records):
        return
    last_row = connection.execute(sa.text("SELECT coalesce(max(row), 0) FROM transfers")).scalar_one()
    row = batch_row(next_batch(_incarnation(connection), (0, START), last_row, transfers, records))
    connection.execute(sa.insert(sa.table("ledger_batches", *map(sa.column, row))).values(row))


def _rows(connection: sa.Connection, table: str, columns: tuple[str, ...], order: str) -> list[dict[str, Any]]:
    """Read whole tables as they are now, whatever columns they get later."""
    chosen: list[sa.ColumnClause[Any]] = [sa.column(name) for name in columns]
    found = connection.execute(sa.select(*chosen).select_from(sa.table(table)).order_by(sa.column(order)))
    return [dict(row) for row in found.mappings()]


def _incarnation(connection: sa.Connection) -> Incarnation:
    stored = connection.execute(sa.text("SELECT value FROM meta WHERE key = 'incarnation'")).scalar()
    if stored is None:
        stored = os.urandom(16)
        connection.execute(sa.text("INSERT INTO meta (key, value) VALUES ('incarnation', :value)"), {"value": stored})
    return Incarnation(stored)
