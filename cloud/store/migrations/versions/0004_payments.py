"""Payments through a gateway, and where providers are paid."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "payments",
        sa.Column("id", sa.String(96), primary_key=True),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("account", sa.String(64), nullable=False, index=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False, index=True),
        sa.Column("gateway", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("gateway_id", sa.String(255), nullable=False),
        sa.Column("refunds", sa.String(96), nullable=True, index=True),
        sa.Column("destination", sa.String(255), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
    )
    op.create_table(
        "payout_accounts",
        sa.Column("provider_id", sa.LargeBinary(16), primary_key=True),
        sa.Column("destination", sa.String(255), nullable=False),
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("payout_accounts")
    op.drop_table("payments")
