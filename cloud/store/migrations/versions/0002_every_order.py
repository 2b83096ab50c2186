"""What services, disputes, suspensions and the operator's acts need."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns and tables."""
    op.add_column("accounts", sa.Column("suspended", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("assets", sa.Column("suspended", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("offers", sa.Column("items", sa.Text(), nullable=False, server_default=""))
    op.add_column("offers", sa.Column("quote_minor", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("orders", sa.Column("work", sa.Text(), nullable=True))
    op.add_column("orders", sa.Column("aftermath", sa.Text(), nullable=True))
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer(), autoincrement=True, primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("order_id", sa.LargeBinary(16), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
    )
    op.create_table(
        "operator_acts",
        sa.Column("id", sa.Integer(), autoincrement=True, primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("operator", sa.String(64), nullable=False),
        sa.Column("act", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("operator_acts")
    op.drop_table("alerts")
    for table, column in (
        ("orders", "aftermath"),
        ("orders", "work"),
        ("offers", "quote_minor"),
        ("offers", "items"),
        ("assets", "suspended"),
        ("accounts", "suspended"),
    ):
        op.drop_column(table, column)
